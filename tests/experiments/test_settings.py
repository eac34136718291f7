"""What a row trains with: who overrules whom, what makes a run another run, another data set in a recipe's place."""

import dataclasses

import pytest

from experiments.table_file import read_table
from sosr_timm.errors import UserError
from sosr_timm.options.load import load
from sosr_timm.options.train import TrainOptions
from sosr_timm.runner.settings import arguments, conditions, flags, key_of, settings
from tests.experiments.tables import write_table


@pytest.fixture
def table(tmp_path):
    write_table(tmp_path)
    return read_table("tiny", tmp_path)


def test_the_recipe_is_overruled_by_the_table_and_that_by_the_command_line(table):
    row = table.rows[1]
    assert settings(table, row, {})["lr"] == 0.05
    assert settings(table, row, {})["epochs"] == 2
    assert settings(table, row, {"epochs": 3})["epochs"] == 3


def test_only_what_changes_training_is_a_condition(table):
    row = table.rows[1]
    changes = {"epochs": 2, "dataset": "digits", "workers": 7, "data_dir": "x", "train_num_samples": 32}
    assert conditions(table, row, changes) == {"train_num_samples": 32}


def test_the_key_sees_what_changes_training_alone(table):
    row = table.rows[1]
    key = key_of(settings(table, row, {}))
    assert key == key_of(settings(table, row, {"workers": 7, "seed": 5, "output": "elsewhere"}))
    assert key == key_of(settings(table, row, {"mixup": 0.0})), "an option at its default is one that is not given"
    assert key == key_of(settings(table, dataclasses.replace(row, loss="ce+sosr(beta=0.5)"), {}))
    assert key != key_of(settings(table, row, {"epochs": 3}))
    assert key != key_of(settings(table, row, {"batch_size": 8}))
    assert key != key_of(settings(table, table.rows[0], {}))


def test_arguments_give_train_py_the_settings(table):
    row = dataclasses.replace(table.rows[1], options={**table.rows[1].options, "cutmix": 1.0, "sync_bn": True})
    options = load(TrainOptions, arguments(table, row, {"epochs": 4}), "").options
    assert (options.loss.loss, options.loss.smoothing, options.schedule.epochs) == ("sosr", 0.0, 4)
    assert (options.augmentation.cutmix, options.model.sync_bn, options.data.dataset) == (1.0, True, "digits")


def test_another_data_set_brings_its_size_mean_and_deviation():
    table = read_table("sosr_t1")
    row = next(row for row in table.rows if row.key == {"model": "resnet56", "method": "sosr"})
    options = load(TrainOptions, arguments(table, row, {"dataset": "digits"}), "").options
    assert (options.data.dataset, options.model.img_size) == ("digits", 8)
    assert (options.model.mean, options.model.std) == ((0.3059,), (0.3763,))
    assert options.model.model == "cifar_resnet56"


def test_every_kind_of_option_comes_back_from_its_flag():
    given = {
        **{"opt_kwargs": {"filter_bias_and_bn": False}, "decay_milestones": (3, 5), "no_aug": True, "sync_bn": False},
        **{"mean": (0.5, 0.25, 0.125), "lr": 1e-05, "aa": "rand-m9-mstd0.5", "no_ddp_bb": False},
    }
    assert load(TrainOptions, flags(given), "").command_line == given


def test_an_option_that_no_command_line_can_give_is_refused():
    with pytest.raises(UserError, match="option 'aa' cannot be empty"):
        flags({"aa": None})
