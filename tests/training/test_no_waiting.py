"""Training and evaluation read no number back from the device between two lines of the log."""

from contextlib import contextmanager

import pytest
import torch
from accelerate.state import AcceleratorState, GradientState
from torch.utils._python_dispatch import TorchDispatchMode

from sosr_timm.checkpoints.run_folder import claim_folder
from sosr_timm.distributed.processes import start_processes
from sosr_timm.kernels import use_kernel
from sosr_timm.options.load import load
from sosr_timm.options.train import TrainOptions
from sosr_timm.training.build import build_run
from sosr_timm.training.evaluate import evaluate_part
from sosr_timm.training.loop import log_interval, train_update
from tests.training.harness import SMALL, TINY

# Operations whose result the host has to know: a number, or the size of what comes out.
READS = ("_local_scalar_dense", "is_nonzero", "equal", "nonzero", "masked_select", "unique_dim", "_unique2")
COPIES = ("tolist", "numpy", "cpu")
LOSSES = ("ols+sosr+cp", "sosr+maxsup")


class Reads(TorchDispatchMode):
    """Notes every operation that would make the host wait for an accelerator."""

    def __init__(self):
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, function, types, arguments=(), named=None):
        name = function._schema.name.removeprefix("aten::")
        masks = name == "index" and any(one is not None and one.dtype == torch.bool for one in arguments[1])
        if name in READS or masks:
            self.found.append(name)
        return function(*arguments, **(named or {}))


@contextmanager
def reads(monkeypatch):
    """The reads within, by name; with the row kernel of GPUs, not that of the CPU, which may look."""
    mode = Reads()
    with monkeypatch.context() as patch, use_kernel("plain"), mode:
        for name in COPIES:
            original = getattr(torch.Tensor, name)

            def noted(tensor, *arguments, name=name, original=original, **named):
                mode.found.append(name)
                return original(tensor, *arguments, **named)

            patch.setattr(torch.Tensor, name, noted)
        yield mode.found


def make_run(tmp_path, *arguments: str):
    AcceleratorState._reset_state(True)
    GradientState._reset_state()
    options = load(TrainOptions, [*SMALL, *TINY, "--log-interval", "100", *arguments]).options
    run = build_run(options, start_processes(), claim_folder(tmp_path, "run"))
    run.task.train()
    return run


@pytest.mark.parametrize("loss", LOSSES)
def test_training_reads_nothing_until_a_line_of_the_log(loss, tmp_path, monkeypatch):
    run = make_run(tmp_path, "--loss", loss, "--clip-grad", "1.0", "--model-ema", "--reprob", "0.5", "--cutout", "3")
    batches = run.batches()
    train_update(run, batches)  # the first has an epoch's random numbers to draw, and state to make
    with reads(monkeypatch) as found:
        for _ in range(2):
            train_update(run, batches)
        assert found == []
        log_interval(run)
        assert found, "the line of the log has numbers, so the test would see a read"


def test_evaluation_reads_nothing_until_its_end(tmp_path, monkeypatch):
    run = make_run(tmp_path, "--loss", "sosr")
    with reads(monkeypatch) as found:
        table = evaluate_part(run.task.get_eval_model(), run.evaluation_loader, run.evaluation, run.processes)
        assert found == []
        table.reduce(run.processes.sum)
        table.compute()
        assert found, "the figures have been read"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("loss", LOSSES)
def test_a_gpu_is_not_waited_for(loss, tmp_path):
    run = make_run(tmp_path, "--loss", loss, "--clip-grad", "1.0", "--reprob", "0.5", "--cutout", "3")
    batches = run.batches()
    train_update(run, batches)
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(2):
            train_update(run, batches)
    finally:
        torch.cuda.set_sync_debug_mode("default")
