"""Two processes, with every trainer: the soft labels of one, exact resumption, and resumption by one process."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

pytest.importorskip("lightning")
pytest.importorskip("transformers")

from tests.integrations import test_lightning, test_loss_epochs, test_transformers
from tests.integrations.task import plain_loop
from tests.integrations.two_processes import KILLED, SPEC, TRAINERS
from tests.training.harness import free_port

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def output(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("two")
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--nproc_per_node",
        "2",
        "--master_port",
        str(free_port()),
    ]
    done = subprocess.run(
        [*command, "-m", "tests.integrations.two_processes", str(folder)],
        cwd=ROOT,
        env={**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(params=TRAINERS)
def results(request, output) -> list[dict]:
    """What each rank found."""
    return [torch.load(output / f"{request.param}-{rank}.pt") for rank in range(2)]


def assert_close(found, expected):
    assert found.keys() == expected.keys()
    for name in found:
        torch.testing.assert_close(found[name], expected[name], rtol=1e-5, atol=1e-5, msg=name)


def test_both_processes_have_the_soft_labels_of_one(results):
    parts, loss, model = plain_loop(SPEC)
    for rank in results:
        assert_close(rank["straight"]["loss"], loss.state_dict())
        assert_close(rank["straight"]["model"], model.state_dict())
    halves = [[batch["ols"] for batch in rank["straight"]["parts"]] for rank in results]
    assert len(halves[0]) == len(halves[1]) == len(parts)
    for batch, pair in zip(parts, zip(*halves, strict=True), strict=True):
        assert sum(pair) / 2 == pytest.approx(batch["ols"], rel=1e-5)


def test_a_run_that_was_killed_continues_exactly(results):
    for rank in results:
        straight, resumed = rank["straight"], rank["resumed"]
        assert resumed["parts"] == straight["parts"][KILLED:]
        for kind in ("loss", "model"):
            torch.testing.assert_close(resumed[kind], straight[kind], rtol=0, atol=0)


def test_one_process_continues_where_two_were_killed(output, tmp_path):
    _, expected, _ = plain_loop(SPEC)
    _, plain, _ = test_loss_epochs.train(tmp_path, SPEC, resume=output / "plain/killed/rank0" / f"{KILLED}.pt")
    module, _ = test_lightning.fit(tmp_path, SPEC, resume=output / "lightning/killed" / f"step={KILLED}.ckpt")
    checkpoint = output / "transformers/killed" / f"checkpoint-{KILLED}"
    _, trainer, _ = test_transformers.fit(tmp_path, SPEC, resume=checkpoint, checkpoint=checkpoint)
    for loss in (plain, module.loss, trainer):
        assert_close(loss.state_dict(), expected.state_dict())
