"""Two real processes: they learn, resume exactly, and evaluate to the same digits as one."""

import json
import os
import subprocess
import sys

import pytest

from sosr_timm.checkpoints.format import checkpoint_folders
from sosr_timm.checkpoints.run_folder import RunFolder
from tests.detection.harness import SMALL
from tests.training.harness import ROOT, assert_same_run, copy_until, only_run

pytestmark = pytest.mark.slow
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m"]


def detect(*arguments: object, processes: int = 2) -> str:
    """Run sosr-detect in processes of their own; returns standard output."""
    launcher = TORCHRUN if processes == 2 else [sys.executable, "-m"]
    environment = {**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    words = [*launcher, "sosr_timm.detection", *map(str, arguments)]
    ended = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=500)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_two_processes_resume_exactly_and_evaluate_as_one_does(voc, tmp_path):
    arguments = ("--batch-size", "1", "--checkpoint-every", "1", "--checkpoint-hist", "100")
    detect(voc, *SMALL, *arguments, "--output", tmp_path / "two")
    straight: RunFolder = only_run(tmp_path / "two")
    middle = sorted(path.name for path in checkpoint_folders(straight.checkpoints))[2]
    copy = copy_until(straight, middle, tmp_path)
    detect("--resume", copy.path)
    assert_same_run(straight, copy)
    found = [json.loads(detect("--evaluate", copy.path, processes=count).splitlines()[-1]) for count in (1, 2)]
    assert found[0] == found[1]
