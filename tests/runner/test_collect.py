"""The command of a record: what a shell takes, without the directories of a machine."""

import shlex

import pytest

from sosr_timm.runner.collect import portable


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (("train.py", "--loss", "sosr(beta=0.5)"), "train.py --loss 'sosr(beta=0.5)'"),
        (("/home/me/train.py", "--data-dir", "/data/my images"), ".../train.py --data-dir '.../my images'"),
        (("train.py", "--output=/home/me/out", "--lr", "0.1"), "train.py --output=.../out --lr 0.1"),
        (("train.py", "--output", "output/train"), "train.py --output output/train"),
    ],
)
def test_a_command_has_no_directories_of_the_machine_and_can_be_given_to_a_shell(words, found):
    assert portable(shlex.join(words)) == found


def test_commands_of_older_versions_are_not_quoted():
    assert (
        portable("/a/train.py --loss sosr(beta=0.5) --data /b/c") == ".../train.py --loss sosr(beta=0.5) --data .../c"
    )
    assert portable("/a/train.py --model it's") == ".../train.py --model it's"
