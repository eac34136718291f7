"""timm's losses as base terms: the same numbers as timm's own modules, and keywords read from timm's factory."""

import inspect

import pytest
import torch
from timm.loss import AsymmetricLossSingleLabel, BinaryCrossEntropy, JsdCrossEntropy, PolyCrossEntropy

from sosr_timm.losses import BASES, create_loss
from sosr_timm.losses.keywords import keywords_of
from sosr_timm.losses.timm_losses import factory_names, timm_factory, timm_loss_types
from tests.losses.cases import TIMM_BASES, batch

SAME = {
    "bce": BinaryCrossEntropy(smoothing=0.0),
    "bce(sum=True, target_thresh=0.2)": BinaryCrossEntropy(smoothing=0.0, sum_classes=True, target_threshold=0.2),
    "bce(class_weight=[1, 2, 3, 4, 5], pos_weight=2)": BinaryCrossEntropy(
        smoothing=0.0, weight=torch.arange(1.0, 6), pos_weight=2.0
    ),
    "bce(smoothing=0.1)": BinaryCrossEntropy(smoothing=0.1),
    "poly(epsilon=1.5)": PolyCrossEntropy(epsilon=1.5),
    "poly(smoothing=0.2)": PolyCrossEntropy(smoothing=0.2),
    "asl(gamma_neg=3)": AsymmetricLossSingleLabel(gamma_pos=1, gamma_neg=3, eps=0.0),
    "jsd(splits=3)": JsdCrossEntropy(num_splits=3, smoothing=0.0),
}


@pytest.mark.parametrize("spec", SAME)
def test_same_as_timm(spec):
    logits, index, dense = batch(dtype=torch.float32)
    for target in (index, dense) if spec.startswith(("bce", "poly")) else (index,):
        ours, timms = logits.clone().requires_grad_(), logits.clone().requires_grad_()
        value, expected = create_loss(spec)(ours, target), SAME[spec](timms, target)
        value.backward(), expected.backward()
        assert value.item() == expected.item() and torch.equal(ours.grad, timms.grad)


def test_every_loss_of_timm_is_a_base():
    assert set(timm_loss_types()) <= set(BASES)


@pytest.mark.parametrize("loss_type", TIMM_BASES)
def test_keywords_cover_the_factory(loss_type):
    """Every argument of the factory with the type in front is a keyword, with the same default and annotation."""
    timms = inspect.signature(timm_factory()).parameters
    keywords = keywords_of(BASES[loss_type])
    for name, argument in factory_names(loss_type).items():
        assert keywords[name].default == timms[argument].default
        assert keywords[name].annotation == timms[argument].annotation
    assert sum(name.startswith(f"{loss_type}_") for name in timms) == len(
        [name for name, argument in factory_names(loss_type).items() if name != argument]
    )


def test_every_argument_of_the_factory_belongs_to_somebody():
    context = {"loss_type", "multi_label", "soft_targets"}
    owned = set().union(*(factory_names(loss_type).values() for loss_type in timm_loss_types()))
    assert owned | context == set(inspect.signature(timm_factory()).parameters)


@pytest.mark.parametrize("spec", ["asl", "jsd(splits=2)"])
def test_class_indices_only(spec):
    logits, _, dense = batch()
    with pytest.raises(ValueError, match="takes class indices, it does not support Mixup/CutMix"):
        create_loss(spec)(logits, dense)


@pytest.mark.parametrize(
    "spec, message",
    [
        ("jsd", "jsd: JSD loss requires jsd_splits > 1"),
        ("zlpr", "zlpr: Loss type 'zlpr' requires multi-label targets"),
        ("poly(gamma=1)", "poly: Poly gamma and alpha only apply to the multi-label"),
        ("asl(class_weight=2)", "asl: Class and positive weights are only supported by bce and multi-label asl"),
        ("asl(reduction='sum')", "asl: Single-label ASL only supports"),
    ],
)
def test_refused_by_timm(spec, message):
    with pytest.raises(ValueError, match=message):
        create_loss(spec)


def test_multi_label_types():
    logits, _, dense = batch(dtype=torch.float32)
    for spec in ("bce", "asl", "poly(gamma=1.0)", "twoway(tp=2)", "zlpr"):
        assert create_loss(spec, multi_label=True)(logits, dense.round()).isfinite()


def test_multi_label_smoothing_is_timms():
    logits, _, dense = batch(dtype=torch.float32)
    loss = create_loss("bce", smoothing=0.2, multi_label=True)
    expected = BinaryCrossEntropy(smoothing=0.2, smooth_dense=True)(logits, dense.round())
    assert loss(logits, dense.round()).item() == expected.item()
    mixed = create_loss("bce", smoothing=0.2, multi_label=True, soft_targets=True)
    assert mixed(logits, dense).item() == BinaryCrossEntropy(smoothing=0.0)(logits, dense).item()
