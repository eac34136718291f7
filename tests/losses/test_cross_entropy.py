"""Cross entropy against torch, timm and worked values."""

import pytest
import torch
from timm.loss import LabelSmoothingCrossEntropy, SoftTargetCrossEntropy

from sosr_timm.losses import create_loss
from tests.losses.cases import batch

pytestmark = pytest.mark.usefixtures("either_kernel")


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


@pytest.mark.parametrize("progress, smoothing", [(0.0, 0.1), (0.25, 0.125), (1.0, 0.2)])
def test_rising_label_smoothing(progress, smoothing):
    logits, index, _ = batch()
    loss = create_loss("ce(smoothing=0.1, end=0.2)")
    loss.set_progress(progress)
    torch.testing.assert_close(loss(logits, index), create_loss("ce", smoothing=smoothing)(logits, index))
    assert loss.state_dict()["base.smoothing"].item() == pytest.approx(smoothing, rel=1e-15)


def test_rising_label_smoothing_starts_at_its_first_value_and_may_fall():
    logits, index, _ = batch()
    assert create_loss("ce(smoothing=0.1, end=0.2)")(logits, index) == create_loss("ce", smoothing=0.1)(logits, index)
    loss = create_loss("ce(end=0)", smoothing=0.2)
    loss.set_progress(0.75)
    torch.testing.assert_close(loss(logits, index), create_loss("ce", smoothing=0.05)(logits, index))


def test_rising_label_smoothing_takes_class_indices():
    logits, _, dense = batch()
    message = r"label smoothing that changes in training \(end=...\) needs class indices"
    with pytest.raises(ValueError, match=message):
        create_loss("ce(smoothing=0.1, end=0.2)")(logits, dense)
    with pytest.raises(ValueError, match=message):
        create_loss("ce(smoothing=0.1, end=0.2)+sosr", soft_targets=True)


def test_a_constant_smoothing_keeps_its_full_form_and_has_no_state():
    """Stored runs and results name their loss by it."""
    assert create_loss("ce").full_form == "ce(smoothing=0.0)" and not create_loss("ce").state_dict()
    assert create_loss("ce(end=None)").full_form == "ce(smoothing=0.0)"
    assert create_loss("ce(smoothing=0.1, end=0.2)").full_form == "ce(smoothing=0.1, end=0.2)"
