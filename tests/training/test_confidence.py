"""--record-confidence: the recorded values are those of the definition, and training does not notice the record."""

import csv
import math

import numpy as np
import pytest
import torch
from PIL import Image

from sosr_timm.checkpoints.format import checkpoint_folders
from sosr_timm.data.loaders.image_entropy import image_entropies, image_entropy
from sosr_timm.errors import UserError
from sosr_timm.losses import create_loss
from sosr_timm.training.confidence import THRESHOLDS
from sosr_timm.training.confidence_pass import clean_pass, start_recording
from sosr_timm.training.loop import train_update
from tests.training.harness import (
    SMALL,
    TINY,
    assert_same_run,
    build_here,
    copy_until,
    only_run,
    tensors_of,
    train_here,
)
from tests.training.test_no_waiting import reads

FAST = (*SMALL, *TINY, "--lr", "0.5")
CASES = {
    "ce": ("--loss", "ce"),
    "smoothed and accumulated": ("--loss", "ls+sosr(threshold=0.2)", "--grad-accum-steps", "3"),
    "ols with penalties": ("--loss", "ols+sosr(threshold=0.2)+cp"),
    "maxsup, workers": ("--loss", "maxsup", "--loader", "workers"),
    "mixed": ("--loss", "sosr(threshold=0.2)", "--cutmix", "1.0", "--mixup", "0.5"),
    "mixed by the loader": ("--loss", "ols", "--mixup", "1.0", "--mixup-mode", "elem", "--loader", "workers"),
    "of timm": ("--loss", "bce"),
    "compiled": ("--loss", "ols+maxsup", "--torchcompile", "eager"),
    "half precision": ("--loss", "sosr(threshold=0.2)", "--amp", "--amp-dtype", "bfloat16"),
}


def entropy_by_hand(pixels: np.ndarray) -> float:
    total = 0.0
    for value in set(pixels.flatten().tolist()):
        share = (pixels == value).mean()
        total -= share * math.log2(share)
    return total


def rows_of(run) -> list[dict[str, str]]:
    with open(run.confidence, newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("case", CASES)
def test_sums_are_those_of_the_definition(case, tmp_path):
    run = build_here(tmp_path, *FAST, *CASES[case], "--record-confidence", "--head-init-scale", "40")
    start_recording(run)
    run.loss.set_progress(0.0)
    run.task.train()
    source, kept = run.training.source, []
    watch = run.confidence.watch

    def kept_watch(batch, result, target):
        # The state too, so that the loss computed anew is the one of this step.
        state = {name: value.clone() for name, value in run.loss.state_dict().items()}
        kept.append((result["output"].detach().clone(), target.clone(), state, list(batch.indices)))
        watch(batch, result, target)

    run.confidence.watch = kept_watch
    batches = run.batches()
    while run.progress.update < run.updates_per_epoch:
        train_update(run, batches)
        run.progress.update += 1
    found = run.confidence.read_epoch(run.processes.sum, None)

    counts, entropies = dict.fromkeys(THRESHOLDS, 0), dict.fromkeys(THRESHOLDS, 0.0)
    norms, samples = 0.0, 0
    for logits, target, state, indices in kept:
        leaf = logits.float().requires_grad_()
        loss = create_loss(run.loss.full_form, run.loss.smoothing, 10, soft_targets=target.ndim == 2)
        loss.load_state_dict(state)
        loss.set_progress(0.0)
        loss.eval()(leaf, target).backward()  # of the mean over the batch, so times M
        for row, index in enumerate(indices):
            image, label = source.load(index)
            samples += 1
            norms += len(logits) * math.sqrt(sum(value**2 for value in leaf.grad[row].tolist()))
            probability = logits[row].float().softmax(0)[label].item()
            for p in THRESHOLDS:
                if probability > p:
                    counts[p] += 1
                    entropies[p] += entropy_by_hand(np.asarray(image))
    assert found["samples"] == samples == len(kept) * 8
    assert found["gradient_norm"] == pytest.approx(norms / samples, rel=2e-5)
    assert counts[0.5] > 0, "nothing was counted, so nothing was tested"
    for p in THRESHOLDS:
        assert found[f"above_{p:g}"] == counts[p]
        expected = entropies[p] / counts[p] if counts[p] else None
        assert found[f"entropy_{p:g}"] == pytest.approx(expected)
    assert not run.confidence.sums.any(), "the next epoch starts at zero"


@pytest.mark.parametrize("mode", ["training", "clean"])
@pytest.mark.parametrize("loss", ["sosr", "ols+cp"])
def test_training_is_the_same_with_and_without(loss, mode, tmp_path):
    arguments = [*FAST, "--loss", loss, "--drop", "0.1", "--reprob", "0.3", "--experiment", "run", "--output"]
    assert train_here(*arguments, tmp_path / "off") == 0
    assert train_here(*arguments, tmp_path / "on", "--record-confidence", mode) == 0
    off, on = (only_run(tmp_path / name) for name in ("off", "on"))
    assert off.summary.read_bytes() == on.summary.read_bytes()
    one, two = (tensors_of(checkpoint_folders(run.checkpoints)[0]) for run in (off, on))
    assert set(two) - set(one) == {"rank0.safetensors:confidence.sums"}
    assert all(torch.equal(tensor, two[name]) for name, tensor in one.items())
    assert not off.confidence.exists()
    assert [row["epoch"] for row in rows_of(on)] == ["0", "1"]
    assert all((row["clean_above_0.5"] != "") == (mode == "clean") for row in rows_of(on))


@pytest.mark.parametrize("mode", ["training", "clean"])
def test_a_resumed_run_writes_the_same_table(mode, tmp_path):
    arguments = [*FAST, "--loss", "sosr", "--record-confidence", mode, "--checkpoint-every", "2"]
    arguments += ["--checkpoint-hist", "100"]
    assert train_here(*arguments, "--output", tmp_path / "straight") == 0
    straight = only_run(tmp_path / "straight")
    names = sorted(path.name for path in checkpoint_folders(straight.checkpoints))
    for name in (names[1], names[-2]):
        copy = copy_until(straight, name, tmp_path / name)
        assert train_here(*arguments, "--output", tmp_path / name, "--resume", "auto") == 0
        assert_same_run(straight, copy)
        assert straight.confidence.read_bytes() == copy.confidence.read_bytes()


def test_recording_can_begin_with_a_resumed_run(tmp_path):
    arguments = [*FAST, "--loss", "ce", "--output", tmp_path]
    assert train_here(*arguments, "--stop-epoch", "1") == 0
    assert train_here(*arguments, "--resume", "auto", "--record-confidence") == 0
    assert [row["epoch"] for row in rows_of(only_run(tmp_path))] == ["1"]


def test_an_update_that_is_undone_does_not_count(tmp_path):
    run = build_here(tmp_path, *FAST, "--loss", "ce", "--record-confidence", "--on-nonfinite", "skip")
    start_recording(run)
    run.task.train()
    batches = run.batches()
    train_update(run, batches)
    before = run.confidence.sums.clone()
    with torch.no_grad():
        next(run.model.parameters()).fill_(math.nan)
    train_update(run, batches)
    assert run.guard.skipped == 1
    assert torch.equal(run.confidence.sums, before)


def test_the_clean_pass_sees_every_image_once_as_an_evaluation_does(tmp_path):
    run = build_here(tmp_path, *FAST, "--loss", "ce", "--record-confidence", "clean", "--vflip", "1.0")
    start_recording(run)
    run.task.train()
    batches = run.batches()
    for _ in range(run.updates_per_epoch):
        train_update(run, batches)
    run.task.get_eval_model()
    counts, entropies = clean_pass(run, run.model).tolist()
    source = run.training.source
    pixels = torch.stack([torch.from_numpy(np.array(source.load(index)[0])) for index in range(len(source))])
    mean, std = run.image_format.mean[0], run.image_format.std[0]
    with torch.no_grad():
        logits = run.model.eval()((pixels[:, None] / 255 - mean) / std)
    chosen = logits.softmax(1)[torch.arange(len(source)), torch.from_numpy(source.read_labels())] > 0.5
    assert counts[0] == chosen.sum() > 0
    assert entropies[0] == pytest.approx(sum(entropy_by_hand(pixels[index].numpy()) for index in chosen.nonzero()))


def test_recording_reads_nothing_until_the_epoch_ends(tmp_path, monkeypatch):
    run = build_here(tmp_path, *FAST, "--log-interval", "100", "--loss", "sosr", "--record-confidence")
    start_recording(run)
    run.task.train()
    batches = run.batches()
    train_update(run, batches)
    with reads(monkeypatch) as found:
        train_update(run, batches)
        assert found == []
        run.confidence.read_epoch(run.processes.sum, None)
        assert found


def test_an_unreadable_image_gives_its_place_to_the_next_one(tmp_path):
    run = build_here(tmp_path, *FAST, "--loss", "ce", "--loader", "workers", "--max-bad-images", "0.5")
    source = run.training.source
    load, key = source.load, next(iter(run.order.keys(0, 0, 1)))
    bad = key.indices[2]

    def failing(index):
        if index == bad:
            raise OSError("damaged")
        return load(index)

    source.load = failing
    batch = next(run.batches())
    assert list(batch.indices) == [*key.indices[:2], key.indices[3], *key.indices[3:]]
    assert image_entropies(source, [bad]).isnan().all()
    assert not image_entropies(source, [key.indices[3]]).isnan().any()


def test_the_entropy_of_an_image_is_that_of_its_grey_values():
    flat, half = np.full((4, 4), 7, np.uint8), np.repeat(np.array([[0], [9]], np.uint8), 4, 1)
    assert image_entropy(Image.fromarray(flat)) == 0.0
    assert image_entropy(Image.fromarray(half)) == 1.0
    assert image_entropy(Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16))) == 8.0


def test_many_labels_are_refused(tmp_path):
    with pytest.raises(UserError, match="--record-confidence counts p_y of one class per image"):
        build_here(tmp_path, *FAST, "--task", "multilabel", "--record-confidence")
