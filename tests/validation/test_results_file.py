"""A results file has timm's columns, rounded as timm rounds them."""

import csv
import json

import pytest

from sosr_timm.validation.results_file import format_of, write_results

ROWS = [{"model": "a", "top1": 100 / 3, "top1_err": 200 / 3, "macro_f1_score": 100 / 7, "loss": 1 / 3, "count": 9}]


@pytest.mark.parametrize(("file", "form", "expected"), [("x", None, "csv"), ("x.txt", None, "csv"), ("x", "md", "md")])
def test_any_other_ending_is_csv(file, form, expected):
    assert format_of(file, form) == expected


def test_csv_is_rounded_and_json_is_not(tmp_path):
    write_results(str(tmp_path / "r.csv"), "csv", ROWS)
    (row,) = csv.DictReader((tmp_path / "r.csv").open())
    assert (row["top1"], row["top1_err"], row["macro_f1_score"]) == ("33.3333", "66.6667", "14.2857")
    assert float(row["loss"]) == 1 / 3 and row["count"] == "9"
    write_results(str(tmp_path / "r.json"), "json", ROWS)
    assert json.loads((tmp_path / "r.json").read_text()) == ROWS
