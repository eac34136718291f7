"""The command line of the runner: choosing rows, changing options, and one line for what is wrong."""

import pytest

from experiments.command_line import changes_of, read_arguments
from experiments.table_file import read_table
from sosr_timm.errors import UserError
from sosr_timm.runner.machine import slots
from sosr_timm.runner.tables import choose_rows


def changes(*words):
    return changes_of(*read_arguments(list(words)))


def test_what_the_flags_and_the_words_behind_the_dashes_change():
    assert changes(
        "run", "sosr_t1", "--epochs", "2", "--samples", "100", "--data", "digits", "--", "--amp", "-b", "32"
    ) == {**{"epochs": 2, "train_num_samples": 100, "dataset": "digits", "amp": True, "batch_size": 32}}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["runn", "sosr_t1"], "unknown command 'runn': did you mean 'run'"),
        (["run", "sosr_t1", "--epoch", "2"], "unknown option '--epoch': did you mean '--epochs'"),
        (["run", "sosr_t1", "--epochs", "0"], "--epochs must be from 1 to 100,000, not 0"),
        (["run", "sosr_t1", "--", "--cutmixx", "1"], "unknown option '--cutmixx': did you mean '--cutmix'"),
        (["run", "sosr_t1", "--", "--seed", "3"], "--seed after -- is set by the runner"),
        (["run", "sosr_t1", "--epochs", "2", "--", "--epochs", "3"], "epochs: given both before and after --"),
        (["report", "--", "--amp"], "report takes no options of train.py"),
    ],
)
def test_what_is_wrong_is_one_line(words, message):
    with pytest.raises(UserError) as caught:
        changes(*words)
    assert message in str(caught.value)


def test_rows_are_chosen_by_the_values_that_name_them():
    table = read_table("sosr_t1")
    assert len(choose_rows(table, [])) == 22
    assert [row.key["method"] for row in choose_rows(table, ["resnet56"])] == ["baseline", "sosr"]
    assert len(choose_rows(table, ["resnet56", "resnet110", "method=sosr"])) == 2
    with pytest.raises(UserError, match="--only resnet65: no row of sosr_t1 has it: did you mean 'resnet56'"):
        choose_rows(table, ["resnet65"])


def test_a_gpu_is_a_seat_and_without_one_the_cores_are_shared_out(monkeypatch):
    from sosr_timm.runner import machine

    monkeypatch.setattr(machine, "usable_gpus", lambda: ["0", "3"])
    assert slots(None) == [{"CUDA_VISIBLE_DEVICES": "0"}, {"CUDA_VISIBLE_DEVICES": "3"}]
    assert [slot["CUDA_VISIBLE_DEVICES"] for slot in slots(3)] == ["0", "3", "0"]
    monkeypatch.setattr(machine, "usable_gpus", list)
    monkeypatch.setattr(machine, "usable_cores", lambda: 16)
    assert slots(None) == [{"OMP_NUM_THREADS": "4"}] * 4
    assert slots(2) == [{"OMP_NUM_THREADS": "8"}] * 2
    monkeypatch.setattr(machine, "usable_cores", lambda: 2)
    assert slots(None) == [{"OMP_NUM_THREADS": "1"}] * 2
    assert slots(None, launched=True) == [{}]
