"""The bridge to the row kernels: every term by its exact type."""

import pytest
import torch

from sosr_timm.losses import PENALTIES, create_loss, read_target
from sosr_timm.losses.fused import WORK, fused_loss, row_work
from sosr_timm.losses.sosr import SelectiveOutputSmoothing
from tests.losses.cases import OUR_BASES, batch


class Changed(SelectiveOutputSmoothing):
    """A penalty of somebody's own that inherits from one that the kernels have."""

    def per_sample(self, logits, labels):
        return 2 * super().per_sample(logits, labels)


def test_a_subclass_takes_the_plain_path():
    logits, index, _ = batch()
    labels = read_target(logits, index)
    base = create_loss("ce").base
    assert fused_loss(base, {"sosr": SelectiveOutputSmoothing()}, logits, labels) is not None
    assert fused_loss(base, {"sosr": Changed()}, logits, labels) is None


def test_an_unknown_term_is_never_taken_for_another():
    logits, index, _ = batch()
    labels = read_target(logits, index)
    with pytest.raises(TypeError, match="the row kernels do not have Changed"):
        row_work(create_loss("ce").base, {"sosr": Changed()}, logits, labels)
    with pytest.raises(TypeError, match="the row kernels do not have TimmLoss"):
        row_work(create_loss("bce").base, {}, logits, labels)


@pytest.mark.parametrize("name", [*OUR_BASES, *PENALTIES])
def test_a_term_of_the_kernels_gives_the_value_of_the_plain_path(name):
    loss = create_loss(name)
    terms = (loss.base, *loss.penalties.values())
    logits, index, _ = batch()
    result = fused_loss(loss.base, loss.penalties, logits, read_target(logits, index))
    assert (result is not None) == all(type(term) in WORK for term in terms)
    if result is not None:
        torch.testing.assert_close(result[0], loss.composed(logits, read_target(logits, index))[0])
