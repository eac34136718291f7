"""What two processes of torchrun do: every trainer straight through, then killed and resumed; saves what came out."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

from tests.integrations import test_lightning, test_loss_epochs, test_transformers
from tests.integrations.task import COMBINATIONS

SPEC, KILLED = COMBINATIONS[2], 8
TRAINERS = ("plain", "lightning", "transformers")


def plain(folder: Path, killed: int | None, resume: bool):
    stored = folder / f"rank{dist.get_rank()}"
    stored.mkdir(parents=True, exist_ok=True)
    resume = stored / f"{KILLED}.pt" if resume else None
    return test_loss_epochs.train(stored, SPEC, killed, resume, wrap=DistributedDataParallel)


def lightning(folder: Path, killed: int | None, resume: bool):
    saving = test_lightning.ModelCheckpoint(folder, "{step}", **test_lightning.AT_BATCHES)
    module, parts = test_lightning.fit(
        folder,
        SPEC,
        saving,
        *([test_lightning.Stop(killed)] if killed else []),
        resume=folder / f"step={KILLED}.ckpt" if resume else None,
        strategy="ddp",
        devices=2,
        use_distributed_sampler=False,
    )
    return module.model, module.loss, parts


def transformers(folder: Path, killed: int | None, resume: bool):
    stop = [test_transformers.Stop(killed)] if killed else []
    return test_transformers.fit(folder, SPEC, *stop, resume=resume, **test_transformers.STEPS)


def main(output: Path) -> None:
    dist.init_process_group("gloo")
    for name in TRAINERS:
        run = globals()[name]
        straight = run(output / name / "straight", None, False)
        run(output / name / "killed", KILLED, False)
        resumed = run(output / name / "killed", None, True)
        results = {
            kind: {"model": model.state_dict(), "loss": loss.state_dict(), "parts": parts}
            for kind, (model, loss, parts) in {"straight": straight, "resumed": resumed}.items()
        }
        torch.save(results, output / f"{name}-{dist.get_rank()}.pt")
        dist.barrier()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
