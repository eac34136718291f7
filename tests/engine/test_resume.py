"""A run that was stopped anywhere and resumed ends as the run that was never stopped: bit for bit."""

import pytest

from sosr_timm.engine.checkpoint import checkpoint_folders
from tests.engine.harness import SMALL, assert_same_run, copy_until, only_run, train_here

CASES = {
    "ce": ["--loss", "ce"],
    "sosr": ["--loss", "sosr", "--reprob", "0.5", "--drop", "0.2"],
    "ols+sosr": ["--loss", "ols+sosr", "--grad-accum-steps", "2", "--model-ema", "--model-ema-decay", "0.9"],
    "maxsup": ["--loss", "maxsup", "--opt", "adamw", "--lr", "0.002", "--aa", "rand-m5-n1", "--sched-on-updates"],
    "sosr_mixed": ["--loss", "sosr", "--mixup", "0.5", "--cutmix", "1.0", "--mixup-off-epoch", "1"],
    "all_terms": ["--loss", "ols+sosr+cp", "--cutmix", "1.0", "--mixup-mode", "elem", "--clip-grad", "1.0"],
}


@pytest.mark.parametrize("case", CASES)
def test_a_resumed_run_equals_the_straight_one(case, tmp_path):
    arguments = [*SMALL, *CASES[case], "--checkpoint-every", "1", "--checkpoint-hist", "100"]
    assert train_here(*arguments, "--output", tmp_path / "straight") == 0
    straight = only_run(tmp_path / "straight")
    names = sorted(path.name for path in checkpoint_folders(straight.checkpoints))
    assert len(names) > 6
    for name in (names[2], names[-3]):
        copy = copy_until(straight, name, tmp_path / name)
        assert train_here(*arguments, "--output", tmp_path / name, "--resume", "auto") == 0
        assert_same_run(straight, copy)
