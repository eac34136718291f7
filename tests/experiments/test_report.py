"""The document of results: figures by hand, what is not run, what is reduced, what belongs to no table any more."""

import argparse

import numpy as np
import pytest
from PIL import Image

from experiments import results_page as module
from experiments.results_page import DOCUMENT, document, table_section
from experiments.table_file import read_table
from sosr_timm.errors import UserError
from sosr_timm.runner.jobs import Places, plan_jobs
from sosr_timm.runner.record import Record, load_record, save_record
from sosr_timm.runner.settings import key_of, settings
from tests.experiments.tables import write_table
from tests.tools.test_readme_page import result

REDUCED = {"dataset": "fashion_mnist", "epochs": 3, "train_num_samples": 12000}


def store(results, table, row, seed, best, last, conditions=None, key=None, groups=None):
    """A record whose figures the test chose, as the runner would have stored it."""
    conditions = conditions or {}
    groups = {f"top1_{name}": value for name, value in (groups or {}).items()}
    metrics = ({"top1": top1, "top5": 90.0, "loss": 1.5, "ece": 0.125, **groups} for top1 in (best, last))
    run = result(seed=seed, **dict(zip(("best", "last"), metrics, strict=True)))
    key = key or key_of(settings(table, row, conditions))
    record = Record(table.name, row.key, conditions, key, [10.0, last], run)
    path = results / table.name / f"{row.title}-{seed}-{len(conditions)}.json".replace(", ", "_")
    save_record(record, path)
    assert load_record(path) == record


def rows_of(text, start):
    return [
        [cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith(f"| {start}")
    ]


@pytest.fixture
def table():
    return read_table("sosr_t1")


def row_of(table, **key):
    return next(row for row in table.rows if row.key == key)


def test_published_and_ours_stand_side_by_side(tmp_path, table):
    baseline = row_of(table, model="resnet56", method="baseline")
    sosr = row_of(table, model="resnet56", method="sosr")
    for seed, (best, last) in enumerate([(73.0, 72.5), (74.0, 73.5), (75.0, 74.0)]):
        store(tmp_path, table, sosr, seed, best, last)
    store(tmp_path, table, baseline, 0, 72.5, 72.0)
    store(tmp_path, table, baseline, 1, 73.0, 72.0)
    text, _ = table_section(table, tmp_path, {})
    ours, comparison = rows_of(text, "resnet56, sosr |")
    half = 4.302653 * 1.0 / np.sqrt(3)
    assert ours == ["resnet56, sosr", "top-1 %", "74.7 ± 0.13", f"74.00 ± {half:.2f}", "73.33 ± 1.90", "-0.70", "3"]
    # differences 0.5 and 1.0: mean 0.75, s = 0.353553, t(0.975, 1) = 12.7062
    assert comparison[:3] == ["resnet56, sosr", "resnet56, baseline", "2"]
    assert comparison[3] == f"+0.75 ± {12.7062 * 0.3535534 / np.sqrt(2):.2f} (p = 0.2)"
    assert rows_of(text, "resnet110, sosr |") == [
        ["resnet110, sosr", "top-1 %", "75.6 ± 0.1", "not run", "not run", "", ""]
    ]
    assert "5 runs, 1.71 hours in all" in text


def test_a_single_shared_seed_is_too_few_for_a_test(tmp_path, table):
    for method in ("baseline", "sosr"):
        store(tmp_path, table, row_of(table, model="resnet56", method=method), 0, 70.0, 69.0)
    text, _ = table_section(table, tmp_path, {})
    assert "| resnet56, sosr | resnet56, baseline | 1 | +0.00 (n too small: 1) | +0.00 (n too small: 1) |" in text


def test_reduced_runs_never_stand_beside_published_figures(tmp_path, table):
    sosr = row_of(table, model="resnet56", method="sosr")
    store(tmp_path, table, sosr, 0, 88.0, 87.0, REDUCED)
    text, groups = table_section(table, tmp_path, {})
    published, reduced = text.split("### ")
    assert "88.00" not in published
    assert "resnet56, sosr | top-1 % | 74.7 ± 0.13 | not run | not run" in published
    assert reduced.startswith("sosr_t1, changed: fashion_mnist, 3 epochs, 12,000 samples\n")
    assert "74.7 " not in reduced
    assert "| resnet56, sosr | 88.00 | 87.00 | 1.5000 | 0.1250 | 1 |" in reduced
    assert [len(group.runs) for group in groups] == [0, 1]


def test_a_run_with_settings_of_another_time_is_left_out_and_counted(tmp_path, table):
    store(tmp_path, table, row_of(table, model="resnet56", method="sosr"), 0, 88.0, 87.0, key="0" * 16)
    text, _ = table_section(table, tmp_path, {})
    assert "88.00" not in text
    assert "Not shown: 1 stored run " in text


def test_where_nothing_is_run_every_row_says_so(tmp_path):
    text, plots = document(tmp_path)
    assert not plots
    assert "![" not in text
    lines = [line for line in text.splitlines() if line.startswith("| ") and line.count(" | ") in (5, 6)]
    rows = [line for line in lines if not line.startswith(("| row", "| ---"))]
    assert len(rows) > 400
    assert all("not run" in line or "not measured in a run" in line for line in rows)
    assert not any("not measured in a run" in line for line in rows)


def test_rows_that_are_not_run_here_say_why(tmp_path):
    text, _ = table_section(read_table("maxsup_t4_cifar100"), tmp_path, {})
    assert "| resnet18, zipf_ls | top-1 % | 76.21 ± 0.12 | not run [a] | not run [a] |  |  |" in text
    assert "\n[a] its published commands rank classes by the votes" in text


def test_errors_are_compared_with_errors(tmp_path):
    table = read_table("ols_cifar100")
    row = row_of(table, model="resnet56", method="ols")
    store(tmp_path, table, row, 0, 75.0, 74.5)
    text, _ = table_section(table, tmp_path, {})
    assert "| resnet56, ols | top-1 error % | 25.24 | 25.00 | 25.50 | -0.24 | 1 |" in text


def test_figures_are_drawn_from_the_runs(tmp_path):
    table = read_table("digits_ablation")
    for number, row in enumerate(table.rows):
        for seed in (0, 1):
            store(tmp_path, table, row, seed, 90.0 + number + seed, 90.0 + number)
    tables = tmp_path / "tables"
    tables.mkdir()
    write_table(tables)
    small = read_table("tiny", tables)
    for row in small.rows:
        store(tmp_path, small, row, 0, 50.0, 49.0)
    plots = {}
    for one in (table, small):
        text, _ = table_section(one, tmp_path, plots)
        assert f"![{one.title}](results/{one.name}.png)" in text
    assert set(plots) == {"digits_ablation.png", "tiny.png"}
    for name, draw in plots.items():
        draw(tmp_path / name)
        assert np.asarray(Image.open(tmp_path / name).convert("L")).std() > 10


def test_a_damaged_record_is_one_line(tmp_path, table):
    (tmp_path / "sosr_t1").mkdir()
    (tmp_path / "sosr_t1" / "x.json").write_text("{")
    with pytest.raises(UserError, match=r"x\.json: not JSON"):
        table_section(table, tmp_path, {})


def test_the_document_shows_what_is_stored():
    text, plots = document()
    assert DOCUMENT.read_text(encoding="utf-8") == text, "run: python -m experiments report"
    assert {path.name for path in (DOCUMENT.parent / "results").glob("*.png")} == set(plots)


def test_the_command_writes_the_document_and_takes_old_figures_away(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setattr(module, "DOCUMENT", tmp_path / "results.md")
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "old.png").touch()
    assert module.report(argparse.Namespace(table="all", results=tmp_path / "none")) == 0
    assert (tmp_path / "results.md").read_text() == document(tmp_path / "none")[0]
    assert not list((tmp_path / "results").iterdir())
    assert module.report(argparse.Namespace(table="reduced", results=tmp_path / "none")) == 0
    assert "## reduced" in capsys.readouterr().out


def test_a_run_stands_for_every_row_that_asks_for_it(tmp_path, table):
    ablation = read_table("sosr_ablation")
    point = next(row for row in ablation.rows if (row.key.get("threshold"), row.key.get("beta")) == (0.99, 0.5))
    baseline = row_of(table, model="resnet56", method="baseline")
    store(tmp_path, table, baseline, 0, 73.0, 72.0)
    store(tmp_path, table, baseline, 1, 88.0, 87.0, REDUCED)
    text, groups = table_section(ablation, tmp_path, {})
    assert "| resnet56, baseline | 73.00 | 72.00 |" in text
    assert "88.00" not in text
    jobs = plan_jobs(ablation, ablation.rows, None, {}, Places(tmp_path, tmp_path))
    assert [(job.row.title, job.seed) for job in jobs if job.state == "done"] == [("resnet56, baseline", 0)]
    assert not groups[0].of(point)
    store(tmp_path, table, row_of(table, model="resnet56", method="sosr"), 3, 74.0, 73.0)
    assert set(table_section(ablation, tmp_path, {})[1][0].of(point)) == {3}, "a loss is the same however it is written"


def test_groups_of_classes_stand_beside_the_overall_accuracy(tmp_path):
    table = read_table("maxsup_longtail")
    row = row_of(table, split="test", imbalance=50, model="resnet32", method="maxsup")
    store(tmp_path, table, row, 0, 81.0, 80.5, groups={"many": 82.0, "medium": 74.0})
    text, _ = table_section(table, tmp_path, {})
    title = "split test, imbalance 50, resnet32, maxsup"
    assert f"| {title} | many top-1 % | 82.3 | 82.00 | 82.00 | -0.30 | 1 |" in text
    assert f"| {title} | low top-1 % | 0 | - | - |  | 1 |" in text
