"""The tables of experiments/: they parse, refer to published rows, leave none of those out, and name real recipes."""

import pytest

from experiments.metrics import metric_of
from experiments.published import published_tables
from experiments.starting import starting_job
from experiments.table_file import read_table, table_names
from sosr_timm.losses import create_loss
from sosr_timm.options.detection import DetectionOptions
from sosr_timm.options.load import load
from sosr_timm.options.train import TrainOptions
from sosr_timm.runner.jobs import Places, plan_jobs
from sosr_timm.runner.settings import arguments, key_of, settings

TABLES = [read_table(name) for name in table_names()]
OF_PAPERS = [table for table in TABLES if table.published]


def runnable(table):
    return [row for row in table.rows if not row.absent]


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_a_row_has_a_recipe_and_arguments_that_train_py_takes(table, monkeypatch):
    monkeypatch.chdir(table.path.parents[1])
    for row in runnable(table):
        if table.program == "detect":
            load(DetectionOptions, arguments(table, row, {}), "")
            assert metric_of(table.metrics[0]) is not None
            continue
        given = load(TrainOptions, arguments(table, row, {}), "").options
        assert (given.loss.loss, given.loss.smoothing) == (row.loss, row.smoothing)
        mixed = given.augmentation.cutmix > 0 or given.augmentation.mixup > 0
        create_loss(row.loss, row.smoothing, num_classes=100, soft_targets=mixed)
        assert metric_of(table.metrics[0]) is not None, "a row that is run has a figure to be compared"


def test_only_rows_that_mean_the_same_run_share_one():
    shared = []
    for table in TABLES:
        by_key: dict[str, list[str]] = {}
        for row in runnable(table):
            by_key.setdefault(key_of(settings(table, row, {}), table.program), []).append(row.title)
        shared += [tuple(titles) for titles in by_key.values() if len(titles) > 1]
    of_long_tail = [
        tuple(f"split {split}, imbalance {imbalance}, resnet32, {method}" for split in ("val", "test"))
        for imbalance in (50, 100)
        for method in ("label_smoothing", "maxsup", "focal")
    ]
    rising = ("resnet50, maxsup", "resnet50, maxsup_0.1_to_0.2")
    assert sorted(shared) == sorted([*of_long_tail, rising])


def test_the_runs_of_ols_keep_the_checkpoints_of_its_ensembles():
    tables = {table.name: table for table in TABLES}
    published = {row.key["n"] for row in tables["ols_other"].rows if "n" in row.key}
    rows = [row for row in tables["ols_cifar100"].rows if row.key["model"] == "resnet56"]
    assert len(rows) == 3 and all(set(row.options["keep_checkpoints"]) == published for row in rows)


def test_every_published_figure_stands_in_a_table():
    shown = {
        (name, id(found))
        for table in OF_PAPERS
        for row in table.rows
        for name in table.published
        for found in published_tables()[name].matching(row.key)
    }
    everything = {(table.name, id(row)) for table in published_tables().values() for row in table.rows}
    assert shown == everything
    assert len(everything) == 411


def test_a_row_that_starts_from_another_rows_weights_finds_that_row(tmp_path):
    table = read_table("sosr_t4")
    jobs = [job for job in plan_jobs(table, table.rows, None, {}, Places(tmp_path, tmp_path)) if job.row.start]
    assert [starting_job(job).row.key for job in jobs] == [{"model": "resnet50", "method": "sosr"}] * 8
    assert [starting_job(job).seed for job in jobs] == [0, 0, 1, 1, 0, 0, 1, 1]


def test_the_published_differences_come_out_as_the_paper_says_them():
    def mean(table, **key):
        (value,) = published_tables()[table].values_of(key)
        return value.mean

    gain = mean("sosr_t1", model="resnet56", method="sosr") - mean("sosr_t1", model="resnet56", method="baseline")
    assert gain == pytest.approx(1.09)  # in the paper's text
    gain = mean("sosr_t5", model="resnet110", method="sosr") - mean("sosr_t1", model="resnet110", method="baseline")
    assert gain == pytest.approx(0.89)  # in the paper's text
