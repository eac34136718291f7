"""The tables of experiments/: they parse, refer to published rows, leave none of those out, and name real recipes."""

import pytest

from sosr_timm.experiments.measures import measure_of
from sosr_timm.experiments.published import published_tables
from sosr_timm.experiments.settings import RECIPES, arguments, key_of, settings
from sosr_timm.experiments.table_file import read_table, table_names
from sosr_timm.losses import create_loss
from sosr_timm.options.load import load
from sosr_timm.options.train import TrainOptions

TABLES = [read_table(name) for name in table_names()]


def runnable(table):
    return [row for row in table.rows if not row.absent and (RECIPES / f"{row.recipe}.yaml").is_file()]


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_a_row_has_a_recipe_and_arguments_that_train_py_takes(table, monkeypatch):
    monkeypatch.chdir(table.path.parents[1])
    for row in runnable(table):
        given = load(TrainOptions, arguments(table, row, {}), "").options
        assert (given.loss.loss, given.loss.smoothing) == (row.loss, row.smoothing)
        mixed = given.augmentation.cutmix > 0 or given.augmentation.mixup > 0
        create_loss(row.loss, row.smoothing, num_classes=100, soft_targets=mixed)
        assert measure_of(table.metrics[0]) is not None, "a row that is run has a figure to be compared"


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_rows_that_are_run_differ_in_what_they_train(table):
    losses: dict[str, set[str]] = {}
    for row in runnable(table):
        losses.setdefault(key_of(settings(table, row, {})), set()).add(row.loss)
    # One run may stand for a method that two published tables, or two splits of one, name differently.
    assert all(len(found) == 1 for found in losses.values())


def test_the_published_differences_come_out_as_the_paper_says_them():
    def mean(table, **key):
        (figure,) = published_tables()[table].figures(key)
        return figure.mean

    gain = mean("sosr_t1", model="resnet56", method="sosr") - mean("sosr_t1", model="resnet56", method="baseline")
    assert gain == pytest.approx(1.09)  # in the paper's text
    gain = mean("sosr_t5", model="resnet110", method="sosr") - mean("sosr_t1", model="resnet110", method="baseline")
    assert gain == pytest.approx(0.89)  # in the paper's text
