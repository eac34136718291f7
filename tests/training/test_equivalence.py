"""Batches in parts are the big batch; the learning rate does not depend on the processes."""

import copy

import pytest
import torch

from sosr_timm.losses import create_loss
from sosr_timm.training.loop import train_epoch
from tests.training.harness import SMALL, build_here, only_run, read_lines_of, train_here, train_processes

# A network without batch norm, in which a batch in parts is the sum of its parts.
VIT = (
    "--model",
    "vit_tiny_patch16_224",
    "--model-kwargs",
    "img_size=8",
    "patch_size=2",
    "depth=2",
    "embed_dim=24",
    "num_heads=3",
)


def build(tmp_path, *arguments: str):
    return build_here(tmp_path, *SMALL, *arguments)


@pytest.mark.parametrize("accumulation", [1, 2, 3])
def test_accumulation_equals_the_big_batch_with_a_ragged_end(accumulation, tmp_path):
    run = build(
        tmp_path, *VIT, "--grad-accum-steps", str(accumulation), "--loss", "sosr(threshold=0.15)", "--lr", "0.3"
    )
    model = copy.deepcopy(run.model)
    groups = {id(p): g["weight_decay"] for g in run.optimizer.param_groups for p in g["params"]}
    decays = [groups[id(parameter)] for parameter in run.model.parameters()]
    with_decay = [{"params": [p], "weight_decay": d} for p, d in zip(model.parameters(), decays, strict=True)]
    optimizer = torch.optim.SGD(with_decay, lr=0.3, momentum=0.9)
    loss = create_loss("sosr(threshold=0.15)", num_classes=10)
    batches = list(run.batches())[: run.order.batches_per_epoch]
    assert len(batches) == 7 and (accumulation == 1 or len(batches) % accumulation)
    model.train()
    selected = 0.0
    for start in range(0, len(batches), accumulation):
        group = batches[start : start + accumulation]
        images, target = torch.cat([b.images for b in group]), torch.cat([b.target for b in group])
        optimizer.zero_grad()
        loss(model(images), target).backward()
        selected += float(loss.parts["selected"])
        optimizer.step()
    assert selected > 0, "the penalty took no part: the test would show nothing of it"
    assert train_epoch(run, run.batches()) == 0
    for ours, theirs in zip(run.model.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


def test_the_learning_rate_does_not_depend_on_the_number_of_processes(tmp_path):
    arguments = [*SMALL, "--loss", "sosr", "--sched-on-updates", "--warmup-epochs", "1", "--log-interval", "1"]
    arguments.remove("--lr")
    arguments.remove("0.05")
    assert train_here(*arguments, "--output", tmp_path / "one") == 0
    ended = train_processes(*arguments, "--batch-size", "4", "--output", tmp_path / "two", processes=2)
    assert ended.returncode == 0, ended.stderr
    rates = [[r["lr"] for r in read_lines_of(only_run(tmp_path / n)) if r["kind"] == "train"] for n in ("one", "two")]
    assert rates[0] == rates[1] and len(set(rates[0])) > 5
