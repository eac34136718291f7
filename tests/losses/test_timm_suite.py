"""timm's own tests of its loss factory and tasks pass with sosr_timm loaded first."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import timm.loss

from sosr_timm.losses.timm_losses import timm_loss_types

STORED = Path(__file__).resolve().parents[1] / "fixtures" / "timm_1_0_31"
ROOT = Path(__file__).resolve().parents[2]


def run_suite(folder: Path, *arguments: str) -> str:
    for source in STORED.glob("*.py.txt"):
        (folder / source.name.removesuffix(".txt")).write_bytes(source.read_bytes())
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "sosr_timm", "-p", "no:cacheprovider"]
    command += ["--deselect", KNOWN_HERE, *arguments]
    done = subprocess.run(command, cwd=folder, env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()[-1]


# timm's example of a loss that it does not know is one that we do.
KNOWN_HERE = "test_multilabel.py::test_create_classification_loss_validation[kwargs0-Unknown loss type]"
# timm's scripts are not in its package: their tests would find ours under the same names.
WITHOUT_SCRIPTS = "not _cli and not _script"


def test_timm_suite(tmp_path):
    """Without the tests of processes that count samples, which take a minute."""
    summary = run_suite(tmp_path, "-k", f"not test_distributed_metrics_exclude_padding and {WITHOUT_SCRIPTS}")
    assert int(summary.split(" passed")[0].split()[-1]) >= 120, summary


@pytest.mark.slow
def test_timm_suite_with_several_processes(tmp_path):
    assert " passed" in run_suite(tmp_path, "-k", WITHOUT_SCRIPTS)


def test_the_test_that_is_left_out_is_about_a_name_of_ours():
    source = (STORED / "test_multilabel.py.txt").read_text(encoding="utf-8")
    assert "(dict(loss_type='focal'), 'Unknown loss type'),\n    (dict(loss_type='ce', multi_label=True)" in source
    assert "focal" in timm.loss.LOSS_TYPES and "focal" not in timm_loss_types()
