"""What counts as a target, and what a target says."""

import pytest
import torch

from sosr_timm.losses import read_target

LOGITS = torch.zeros(3, 4)


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.int16, torch.uint8], ids=str)
def test_integers_are_class_indices(dtype):
    labels = read_target(LOGITS, torch.tensor([0, 3, 1], dtype=dtype))
    assert labels.index.dtype == torch.int64 and labels.dense is None and labels.weights is None
    assert labels.mask().int().tolist() == [[1, 0, 0, 0], [0, 0, 0, 1], [0, 1, 0, 0]]


def test_one_hot_floats_are_dense():
    """The form decides, not the values: one-hot rows are dense targets, with one label each."""
    labels = read_target(LOGITS, torch.eye(4)[:3])
    assert labels.index is None and labels.mask().sum(dim=1).tolist() == [1, 1, 1]


def test_smoothing_is_taken_out():
    hot, smoothing = torch.eye(4, dtype=torch.float64)[:3], 0.1
    mixed = 0.7 * hot + 0.3 * hot.flip(0)
    labels = read_target(LOGITS, mixed * (1 - smoothing) + smoothing / 4, smoothing)
    torch.testing.assert_close(labels.weights, mixed)
    assert labels.mask().sum(dim=1).tolist() == [2, 1, 2]


def test_tiny_weights_are_rounding():
    target = torch.tensor([[1 - 5e-7, 5e-7, 0, 0], [1 - 2e-6, 2e-6, 0, 0], [0, 0, 0, 0]])
    assert read_target(LOGITS, target).mask().sum(dim=1).tolist() == [1, 2, 0]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision_dense_targets(dtype):
    dense = torch.eye(4, dtype=dtype)[:3]
    assert read_target(LOGITS, dense).weights.dtype == torch.float32
    with pytest.raises(ValueError, match="must be float32 or float64"):
        read_target(LOGITS, dense, smoothing=0.1)


@pytest.mark.parametrize(
    "target, message",
    [
        (torch.zeros(3, dtype=torch.bool), "must hold integers, got torch.bool"),
        (torch.zeros(3), "must hold integers, got torch.float32"),
        (torch.zeros(3, dtype=torch.complex64), "must hold integers"),
        (torch.zeros(2, dtype=torch.long), "2 rows and logits have 3"),
        (torch.zeros(3, 1, dtype=torch.long), r"must hold floats, got torch.int64 in shape \(3, 1\)"),
        (torch.zeros(3, 4, dtype=torch.long), "must hold floats"),
        (torch.zeros(3, 5), "5 classes and logits have 4"),
        (torch.zeros(2, 4), "2 rows and logits have 3"),
        (torch.tensor(1), r"\(M,\) or \(M, K\), got \(\)"),
        (torch.zeros(3, 4, 1), r"got \(3, 4, 1\)"),
        ([0, 1, 2], "must be a tensor, got list"),
    ],
)
def test_bad_targets(target, message):
    with pytest.raises(ValueError, match=message):
        read_target(LOGITS, target)


@pytest.mark.parametrize(
    "logits, message",
    [
        (torch.zeros(3), r"got \(3,\)"),
        (torch.zeros(0, 4), r"M and K at least 1, got \(0, 4\)"),
        (torch.zeros(3, 0), r"M and K at least 1, got \(3, 0\)"),
        (torch.zeros(3, 4, 5), r"got \(3, 4, 5\)"),
        (torch.zeros(3, 4, dtype=torch.long), "must be floating point"),
        (None, "must be a tensor"),
    ],
)
def test_bad_logits(logits, message):
    with pytest.raises(ValueError, match=message):
        read_target(logits, torch.zeros(3, dtype=torch.long))


def test_class_index_out_of_range_is_not_skipped():
    """torch's own cross entropy would leave a -100 out of the mean without a word."""
    from sosr_timm.losses import create_loss

    for bad in (-100, -1, 4):
        with pytest.raises((IndexError, RuntimeError), match=r"out of (bounds|range)"):
            create_loss("ce")(LOGITS, torch.tensor([0, bad, 1]))
