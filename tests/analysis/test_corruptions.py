"""Metrics under corruptions: torchmetrics and loops for the authors' way, and the command on a run and on files."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from sosr_timm.analysis.corruptions import batch_calibration_error, criterion_of, exact_metrics, logged_metrics
from sosr_timm.analysis.subjects import Subject
from sosr_timm.options.validate import ValidateOptions
from sosr_timm.setup.stored_run import find_run
from tests.analysis.harness import analyze, refused, rows_of, train_small


def data(count=250, classes=4):
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(count, classes, generator=generator)
    return logits, torch.randint(classes, (count,), generator=generator)


def test_the_calibration_error_of_a_batch_is_torchmetrics():
    functional = pytest.importorskip("torchmetrics.functional.classification")
    logits, labels = data(100)
    logits[:20] *= 100  # confidences of exactly 1
    for part in (slice(0, 100), slice(0, 20), slice(20, 23)):
        p = logits[part].softmax(dim=1)
        theirs = functional.multiclass_calibration_error(p, labels[part], num_classes=4)
        assert batch_calibration_error(p, labels[part]) == pytest.approx(theirs.item(), abs=1e-6)


def test_both_ways_by_loops():
    logits, labels = data()
    parts = [(logits[i : i + 100], labels[i : i + 100]) for i in (0, 100, 200)]

    def smoothed(z, y):
        return F.cross_entropy(z, y, label_smoothing=0.1)

    logged = logged_metrics(logits, labels, smoothed)
    assert logged["nll_logged"] == pytest.approx(sum(smoothed(*part).item() for part in parts) / 3)
    errors = [batch_calibration_error(z.softmax(dim=1), y) for z, y in parts]
    assert logged["ece_logged"] == pytest.approx(sum(errors) / 3)
    exact = exact_metrics(logits, labels)
    assert exact["error"] == pytest.approx((logits.argmax(dim=1) != labels).double().mean().item())
    assert exact["nll"] == pytest.approx(F.cross_entropy(logits, labels).item(), rel=1e-6)
    assert logged["ece_logged"] > exact["ece"]  # few images make gaps


def test_the_criterion_is_that_of_the_end_of_training(tmp_path):
    """MaxSup's weight is then 0.2, and OLS has the soft labels of its last epoch."""
    logits, labels = data(10, 10)
    for loss in ("maxsup", "ols"):
        run = find_run(str(train_small(tmp_path, loss, "--loss", loss)), "last")
        value = criterion_of(Subject(loss, loss, ValidateOptions(), run), 10)(logits, labels)
        if loss == "maxsup":
            penalty = (logits.amax(dim=1) - logits.mean(dim=1)).mean()
            torch.testing.assert_close(value, F.cross_entropy(logits, labels) + 0.2 * penalty)
        else:
            uniform = 0.5 * F.cross_entropy(logits, labels) - 0.5 * logits.log_softmax(dim=1).mean()
            assert value.isfinite() and not torch.isclose(value, uniform)


def test_the_command(runs, tmp_path):
    arguments = ("--corruptions", "contrast", "snow", "--severities", 5, 1, "--num-samples", 20)
    record = analyze(tmp_path, "corruptions", runs["ce"], runs["sosr"], *arguments)
    rows = rows_of(tmp_path, "corruptions")
    sets = [(row["run"], row["corruption"], row["severity"]) for row in rows if row["corruption"] != "mean"]
    own = [("clean", "0"), ("contrast", "1"), ("contrast", "5"), ("snow", "1"), ("snow", "5")]
    assert sets == [(run, *one) for run in ("ce", "sosr(threshold=0.2)") for one in own]
    mean = next(row for row in record["mean"] if row["run"] == "ce")
    values = [row["error"] for row in record["sets"] if row["run"] == "ce" and row["corruption"] != "clean"]
    assert mean["error"] == pytest.approx(np.mean(values)) and mean["form"] == "cifar"
    again = analyze(tmp_path / "again", "corruptions", runs["ce"], runs["sosr"], *arguments)
    assert again["sets"] == record["sets"]
    assert (tmp_path / "corruptions_by_kind.png").is_file()


def test_published_files(tmp_path):
    run = train_small(tmp_path, "run", "--epochs", "1", "--input-size", "3", "8", "8")
    folder = tmp_path / "CIFAR-10-C"
    folder.mkdir()
    random = np.random.default_rng(0)
    np.save(folder / "fog.npy", random.integers(0, 256, (30, 8, 8, 3), dtype=np.uint8))
    np.save(folder / "labels.npy", random.integers(0, 10, 30))
    arguments = ("--corrupted-dir", folder, "--severities", 1, 2)
    record = analyze(tmp_path, "corruptions", run, "--corruptions", "fog", *arguments)
    assert len(record["sets"]) == 3 and record["seed"] is None
    refused(r"snow\.npy: no such file", "corruptions", run, "--corruptions", "snow", *arguments)


def test_mistakes(runs):
    refused("unknown corruption 'snoww': did you mean 'snow'", "corruptions", runs["ce"], "--corruptions", "snoww")
    refused("--severities", "corruptions", runs["ce"], "--severities", 6)
