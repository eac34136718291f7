"""Losses put together: smoothing from two sides, combinations nobody defined, and the calls between batches."""

import pytest
import torch

import sosr_timm
from sosr_timm.losses import PENALTIES, create_loss
from sosr_timm.losses.spec import REPLACES_SMOOTHING
from tests.losses import oracles
from tests.losses.cases import OUR_BASES, batch


def test_public_name():
    assert sosr_timm.create_loss is create_loss


def test_sum_of_its_parts():
    logits, index, dense = batch()
    loss = create_loss("ols+sosr(threshold=0.5, beta=2.0)+maxsup(start=0.3)+cp(weight=0.2)")
    for target in (index, dense):
        value = loss(logits, target).item()
        array, labels = logits.numpy(), target.numpy()
        expected = {
            "ols": oracles.OnlineLabelSmoothing(5)(array, labels)[0],
            "sosr": 2 * oracles.sosr(array, labels, 0.5)[0],
            "maxsup": 0.3 * oracles.maxsup(array)[0],
            "cp": 0.2 * oracles.confidence_penalty(array)[0],
        }
        assert value == pytest.approx(sum(expected.values()))
        selected = loss.parts.pop("selected").item()
        assert {name: part.item() for name, part in loss.parts.items()} == pytest.approx(expected)
        assert selected == pytest.approx(oracles.sosr(array, labels, 0.5)[2].mean())


def test_smoothing_as_argument_or_keyword():
    assert create_loss("ce", smoothing=0.1).full_form == "ce(smoothing=0.1)"
    assert create_loss("ce(smoothing=0.1)").smoothing == 0.1
    assert create_loss("ce(smoothing=0.1)", smoothing=0.1).full_form == "ce(smoothing=0.1)"
    assert create_loss("poly", smoothing=0.1).full_form.startswith("poly(smoothing=0.1, ")
    assert create_loss("sosr", smoothing=0.1).full_form.startswith("ce(smoothing=0.1)+sosr")
    for stated in ("ce(smoothing=0.2)", "ce(smoothing=0.0)", "bce(smoothing=0.2)+sosr"):
        with pytest.raises(ValueError, match=r"smoothing is 0\.1 as an argument and 0\.?2? in"):
            create_loss(stated, smoothing=0.1)


@pytest.mark.parametrize("smoothing", [-0.1, 1.0, float("nan"), float("inf"), True, "0.1", None])
def test_bad_smoothing(smoothing):
    with pytest.raises(ValueError, match="smoothing must be"):
        create_loss("ce", smoothing=smoothing)


@pytest.mark.parametrize("num_classes", [0, -1, 2.0, True, "3"])
def test_bad_number_of_classes(num_classes):
    with pytest.raises(ValueError, match="num_classes must be an integer of at least 1"):
        create_loss("ce", num_classes=num_classes)


@pytest.mark.parametrize("spec", [*REPLACES_SMOOTHING, "ols+sosr", "bce+maxsup", "poly+maxsup", "focal+zipf"])
def test_what_replaces_smoothing_takes_none(spec):
    with pytest.raises(ValueError, match="takes the place of label smoothing and is defined for smoothing 0 only"):
        create_loss(spec, smoothing=0.1)


@pytest.mark.parametrize("end", [0.2, 0.9])
@pytest.mark.parametrize("penalty", ["maxsup", "margin"])
def test_rising_label_smoothing_is_label_smoothing(penalty, end):
    with pytest.raises(ValueError, match=f"{penalty} takes the place of label smoothing"):
        create_loss(f"ce(end={end})+{penalty}")


@pytest.mark.parametrize("spec", ["zipf", "ls_parts", "ols+zipf", "focal+ls_parts(part='top')"])
def test_what_is_not_defined_for_mixed_targets(spec):
    message = "takes class indices: it is defined for one label per image, not for Mixup or CutMix"
    with pytest.raises(ValueError, match=message):
        create_loss(spec, soft_targets=True)
    with pytest.raises(ValueError, match=message):
        create_loss(spec)(torch.zeros(2, 3), torch.eye(3)[:2])


@pytest.mark.parametrize("penalty", PENALTIES)
def test_no_penalty_on_logits_whose_scale_has_no_effect(penalty):
    with pytest.raises(ValueError, match=f"so nothing would hold them against {penalty}: use it with another base"):
        create_loss(f"logitnorm+{penalty}")


@pytest.mark.parametrize("spec", [*(base for base in OUR_BASES if base != "ce"), *PENALTIES, "bce+sosr", "zlpr+cp"])
def test_ours_take_single_labels(spec):
    with pytest.raises(ValueError, match="is defined for single-label targets only"):
        create_loss(spec, multi_label=True)


@pytest.mark.parametrize("penalty", PENALTIES)
def test_no_penalty_on_augmentation_splits(penalty):
    with pytest.raises(ValueError, match=f"{penalty} is defined for one prediction per image"):
        create_loss(f"jsd(splits=2)+{penalty}")


def test_dense_targets_are_unsmoothed_with_the_smoothing_they_were_made_with():
    logits = torch.tensor([[9.0, 1, -1, 0], [9.0, 8.5, -1, 1]])
    dense = torch.tensor([[1.0, 0, 0, 0], [0.6, 0.4, 0, 0]]) * 0.9 + 0.025
    for spec in ("sosr", "bce+sosr", "poly(smoothing=0.1)+sosr"):
        loss = create_loss(spec, smoothing=0.1)
        loss(logits, dense)
        assert loss.parts["selected"].item() == 1.0
    create_loss("sosr")(logits, dense)  # read without it, every class would count as a label


def test_multi_label_targets_must_be_dense():
    loss = create_loss("bce", multi_label=True)
    with pytest.raises(ValueError, match=r"multi-label targets must be floats of shape \(M, K\)"):
        loss(torch.zeros(2, 3), torch.tensor([0, 1]))


@pytest.mark.parametrize("progress", [-0.1, 1.1, float("nan"), "0.5", True])
def test_bad_progress(progress):
    with pytest.raises(ValueError, match="progress must be"):
        create_loss("ce").set_progress(progress)


def test_calls_between_batches_are_harmless_without_state():
    loss = create_loss("ce+sosr+cp")
    loss.set_progress(1)
    loss.end_epoch()
    loss.end_epoch(sum_over_ranks=lambda tensor: tensor)
    assert not loss.state_dict()


def test_soft_targets_for_a_base_that_cannot():
    with pytest.raises(ValueError, match="does not support Mixup/CutMix"):
        create_loss("asl", soft_targets=True)


def test_printed_form_names_the_loss():
    assert "ce(smoothing=0.0)+sosr(threshold=0.99, beta=0.5)" in repr(create_loss("sosr"))


def test_logits_of_another_number_of_classes():
    loss = create_loss("ce+sosr", num_classes=5)
    for target in (torch.tensor([0, 1]), torch.eye(3)[:2]):
        with pytest.raises(ValueError, match="logits have 3 classes, the loss was made for 5"):
            loss(torch.zeros(2, 3), target)
