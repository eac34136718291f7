"""The files of a comparison: a real one comes back, and what is none is refused in one line."""

import json
import shutil
from pathlib import Path

import pytest

from sosr_timm.errors import UserError
from sosr_timm.runner.comparison_file import RESULT, load_comparison

# sosr-compare --config digits --losses ce ls sosr --seeds 2 --epochs 6 --train-num-samples 1000
DIGITS = Path(__file__).resolve().parents[1] / "fixtures" / "comparison"


def test_a_comparison_comes_back_with_its_records():
    content, records = load_comparison(DIGITS)
    assert (content["baseline"], content["epochs"], content["complete"]) == ("ce", 6, True)
    assert [one["loss"] for one in content["losses"]] == ["ce", "ls", "sosr"]
    assert {(record.row["method"], record.run.seed) for record in records} == {
        (loss, seed) for loss in ("ce", "ls", "sosr") for seed in (0, 1)
    }
    for one in content["losses"]:
        values = one["last"]["top1"]["values"]
        for record in records:
            if record.row["method"] == one["loss"]:
                assert values[str(record.run.seed)] == record.evaluation["last"]["top1"]


def test_a_folder_without_a_report_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"is no comparison: it has no comparison\.json"):
        load_comparison(tmp_path)


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"kind": "comparison", "format": 2}', '{"kind": "comparison", "format": 1}']
)
def test_a_damaged_report_is_refused(tmp_path, text):
    (tmp_path / RESULT).write_text(text)
    with pytest.raises(UserError, match=RESULT):
        load_comparison(tmp_path)


def test_a_damaged_record_is_named(tmp_path):
    shutil.copytree(DIGITS, tmp_path / "copy")
    path = next((tmp_path / "copy" / "runs").glob("*.json"))
    path.write_text(json.dumps({"format": 1}))
    with pytest.raises(UserError, match=path.name):
        load_comparison(tmp_path / "copy")
