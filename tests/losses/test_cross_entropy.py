"""Cross entropy against torch, timm and worked values."""

import pytest
import torch
from timm.loss import LabelSmoothingCrossEntropy, SoftTargetCrossEntropy

from sosr_timm.losses import create_loss
from tests.losses.cases import batch


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.7])
def test_like_torch_and_timm(smoothing):
    logits, index, dense = batch()
    loss = create_loss("ce", smoothing=smoothing)
    torch.testing.assert_close(
        loss(logits, index), torch.nn.functional.cross_entropy(logits, index, label_smoothing=smoothing)
    )
    torch.testing.assert_close(loss(logits, index), LabelSmoothingCrossEntropy(smoothing)(logits, index))
    torch.testing.assert_close(loss(logits, dense), SoftTargetCrossEntropy()(logits, dense))


@pytest.mark.parametrize("label, smoothing, value", [(0, 0.0, 0.440190), (0, 0.1, 0.590190), (1, 0.1, 1.490190)])
def test_worked_values(label, smoothing, value):
    loss = create_loss(f"ce(smoothing={smoothing})")
    assert loss(torch.tensor([[2.0, 1, 0, -1]]), torch.tensor([label])).item() == pytest.approx(value, abs=1e-6)


def test_dense_targets_are_not_smoothed_again():
    logits, _, dense = batch()
    plain, smoothing = create_loss("ce"), create_loss("ce", smoothing=0.1)
    assert plain(logits, dense).item() == smoothing(logits, dense).item()
