"""A run of a comparison as processes of its own: two of them train and evaluate; its speed is measured."""

import json
import os
import subprocess
import sys

import pytest

from sosr_timm.comparison.budget import measure_speed
from sosr_timm.errors import UserError
from tests.training.harness import ROOT, SMALL

WORDS = (*map(str, SMALL), "--loss", "ls", "--seed", "1")


@pytest.mark.slow
def test_two_processes_train_and_evaluate_together(tmp_path):
    words = [*WORDS, "--output", str(tmp_path), "--experiment", "run", "--resume", "auto"]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    done = subprocess.run(
        [*torchrun, "-m", "sosr_timm.comparison.worker", *words],
        cwd=ROOT,
        env={**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    result, found = (json.loads((tmp_path / "run" / name).read_text()) for name in ("result.json", "evaluation.json"))
    assert found["images"] == 40 and result["processes"] == 2
    for epoch in ("best", "last"):
        assert found[epoch]["top1"] == result[epoch]["top1"]
        assert found[epoch]["loss"] == pytest.approx(result[epoch]["loss"], rel=1e-6)


@pytest.mark.slow
def test_the_speed_of_a_run_is_measured(monkeypatch, tmp_path):
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    speed = measure_speed([[*WORDS, "--output", str(tmp_path)]], [{"OMP_NUM_THREADS": "1"}])
    assert min(speed.start, speed.epoch, speed.evaluation) > 0
    # 56 images are 7 updates; loading the program takes longer than those.
    assert speed.epoch < speed.start
    assert speed.of_run(10) == pytest.approx(speed.start + 10 * speed.epoch + 2 * speed.evaluation)
    assert not list(tmp_path.iterdir())
    with pytest.raises(UserError, match=r"a run fails at its start: .*no_such_model"):
        measure_speed([[*WORDS, "--model", "no_such_model"]], [{}])
