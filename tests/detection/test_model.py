"""RetinaNet: anchors and losses as the papers define them, padding that changes nothing, frozen batch norm."""

import math

import pytest
import torch
from torch.nn.modules.batchnorm import _BatchNorm

from sosr_timm.detection.backbone import create_backbone
from sosr_timm.detection.model import BEND, BoxHead, Detector, create_detector
from sosr_timm.errors import UserError
from sosr_timm.options.detection import DetectorOptions

TINY = {"model": "resnet10t", "pretrained": False, "model_kwargs": {"channels": (8, 8, 16, 16), "stem_width": 8}}


def detector(num_classes: int = 3, **options) -> Detector:
    torch.manual_seed(0)
    chosen = DetectorOptions(**{**TINY, "pyramid_channels": 8, **options})
    return create_detector(*create_backbone(chosen), num_classes, chosen)


def test_the_anchors_are_those_of_lin_et_al():
    model = detector()
    assert model.backbone.strides == [8, 16, 32, 64, 128]
    for smallest, anchors in zip((32, 64, 128, 256, 512), model.anchor_generator.cell_anchors, strict=True):
        sides = anchors[:, 2:] - anchors[:, :2]
        areas = sides.prod(dim=1).sqrt().unique_consecutive()
        expected = [smallest * 2 ** (third / 3) for third in range(3)]
        # torchvision rounds half the sides of an anchor to whole pixels.
        assert sorted({round(area.item() / smallest, 1) for area in areas})[0] == 1.0
        torch.testing.assert_close(
            sides.prod(dim=1).sqrt().sort().values[::3], torch.tensor(expected), rtol=0.04, atol=0
        )
        ratios = (sides[:, 1] / sides[:, 0]).sort().values
        torch.testing.assert_close(ratios, torch.tensor([0.5] * 3 + [1.0] * 3 + [2.0] * 3), rtol=0.06, atol=0)


def test_the_finest_anchors_scale_with_their_option():
    assert detector(anchor_scale=2.0).anchor_generator.sizes[0][0] == 16


def test_box_loss_is_smooth_l1_of_offsets_over_their_deviations():
    head = BoxHead(8, 9)
    anchors = torch.tensor([[0.0, 0.0, 10.0, 10.0], [20.0, 20.0, 40.0, 40.0]])
    box = torch.tensor([[1.0, 0.0, 13.0, 8.0]])
    output = torch.zeros(1, 2, 4)
    matched = [torch.tensor([0, -1])]
    # Centre (7, 4) in an anchor with centre (5, 5) and sides 10; sides 12 and 8.
    offsets = [2 / 10 / 0.1, -1 / 10 / 0.1, math.log(1.2) / 0.2, math.log(0.8) / 0.2]
    expected = sum(abs(o) - BEND / 2 if abs(o) > BEND else o * o / (2 * BEND) for o in offsets) / 4
    found = head.compute_loss([{"boxes": box}], {"bbox_regression": output}, [anchors], matched)
    assert found.item() == pytest.approx(expected, rel=1e-5)
    small = torch.tensor([[0.05, 0.0, 10.05, 10.0]])  # within the bend
    assert head.compute_loss(
        [{"boxes": small}], {"bbox_regression": output}, [anchors], matched
    ).item() == pytest.approx((0.05 / 10 / 0.1) ** 2 / (2 * BEND) / 4, rel=1e-4)


def test_classification_loss_is_focal_over_the_positive_anchors():
    model = detector().train()
    images, boxes, labels = torch.rand(1, 3, 64, 64), [torch.tensor([[8.0, 8, 40, 40]])], [torch.tensor([2])]
    with torch.no_grad():
        losses = model(images, [(64, 64)], boxes, labels)
        shown, _ = model.transform([images[0]])
        features = list(model.backbone(shown.tensors).values())
        logits = model.head(features)["cls_logits"][0]
        anchors = model.anchor_generator(shown, features)[0]
    total, positives = 0.0, 0
    for anchor, row in zip(anchors.tolist(), logits.tolist(), strict=True):
        overlap = iou(anchor, boxes[0][0].tolist())
        if 0.4 <= overlap < 0.5:
            continue  # neither an object nor background
        positives += overlap >= 0.5
        for k, logit in enumerate(row):
            p = 1 / (1 + math.exp(-logit))
            if overlap >= 0.5 and k == 2:
                total += -0.25 * (1 - p) ** 2 * math.log(p)
            else:
                total += -0.75 * p**2 * math.log(1 - p)
    assert positives > 0
    assert losses["classification"].item() == pytest.approx(total / positives, rel=1e-4)


def iou(one, other) -> float:
    width, height = (min(one[k + 2], other[k + 2]) - max(one[k], other[k]) for k in (0, 1))
    both = max(width, 0) * max(height, 0)
    return both / (sum((b[2] - b[0]) * (b[3] - b[1]) for b in (one, other)) - both)


def test_a_batch_without_objects_has_a_loss_and_gradients_everywhere():
    model = detector().train()
    losses = model(torch.rand(1, 3, 64, 64), [(64, 64)], [torch.zeros(0, 4)], [torch.zeros(0, dtype=torch.int64)])
    assert losses["bbox_regression"] == 0 and losses["classification"] > 0
    sum(losses.values()).backward()
    assert all(parameter.grad is not None for parameter in model.parameters() if parameter.requires_grad)


def test_padding_to_one_size_changes_no_detection():
    model = detector(score_threshold=0.0).eval()
    image = torch.rand(3, 64, 40)
    with torch.no_grad():
        alone = model(image[None], [(64, 40)])[0]
        wide = torch.rand(1, 3, 90, 60)  # what is not part of the image is not looked at
        wide[0, :, :64, :40] = image
        padded = model(wide, [(64, 40)])[0]
    assert len(alone["scores"]) == 100
    for name, value in alone.items():
        assert torch.equal(value, padded[name])
    assert alone["boxes"][:, 2].max() <= 40 and alone["boxes"][:, 3].max() <= 64


def test_frozen_batch_norm_keeps_its_statistics_and_learns_its_weights():
    for freeze in (True, False):
        model = detector(freeze_bn=freeze).train()
        norms = [m for m in model.backbone.maps.modules() if isinstance(m, _BatchNorm)]
        assert norms and all(norm.training != freeze for norm in norms)
        before = norms[0].running_mean.clone()
        model(torch.rand(2, 3, 64, 64), [(64, 64)] * 2, [torch.zeros(0, 4)] * 2, [torch.zeros(0).long()] * 2)
        assert torch.equal(before, norms[0].running_mean) == freeze
        assert norms[0].weight.requires_grad


def test_what_no_feature_map_needs_is_not_trained():
    model = detector()
    names = [name for name, parameter in model.named_parameters() if not parameter.requires_grad]
    assert all(".fc." in name or "head" in name for name in names)
    losses = model.train()(
        torch.rand(1, 3, 64, 96), [(64, 96)], [torch.tensor([[4.0, 4, 40, 40]])], [torch.tensor([1])]
    )
    sum(losses.values()).backward()
    missing = [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert not missing


def test_p6_comes_from_the_backbone_also_where_channels_agree():
    model = detector(pyramid_channels=16)
    added = model.backbone.fpn.extra_blocks
    assert added.p6.in_channels == 16 and not added.use_P5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"model": "vit_tiny_patch16_224", "model_kwargs": {}},
            "strides 16, 16, 16; a pyramid needs three that grow",
        ),
        ({"model": "resnet10x"}, "unknown model 'resnet10x'"),
        ({"model": "resnet10t", "feature_maps": (3, 4, 9)}, "does not have these feature maps"),
        ({"model": "swin_tiny_patch4_window7_224", "model_kwargs": {}}, "cannot look at images of any size"),
        ({"model": "cifar_resnet20", "model_kwargs": {}, "use_ema": True}, "--use-ema is for a run folder"),
        ({"positive_iou": 0.3}, "--negative-iou 0.4 is above --positive-iou 0.3"),
        ({"model": "torchvision:resnet51", "model_kwargs": {}}, "torchvision:resnet51: did you mean 'resnet50'"),
        ({"model": "cifar_resnet56", "model_kwargs": {}, "pretrained": True}, "has no published weights"),
    ],
)
def test_an_unusable_backbone_is_one_line(options, message):
    with pytest.raises(UserError, match=message):
        detector(**options)
