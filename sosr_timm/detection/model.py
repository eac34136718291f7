"""RetinaNet (Lin et al. 2017, arXiv 1708.02002): torchvision's, on the feature maps of a classifier."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torchvision.models.detection import RetinaNet
from torchvision.models.detection._utils import BoxCoder, Matcher
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.retinanet import RetinaNetHead, RetinaNetRegressionHead
from torchvision.ops import FeaturePyramidNetwork
from torchvision.ops.feature_pyramid_network import LastLevelP6P7

from sosr_timm.detection.backbone import Backbone, FeatureMaps
from sosr_timm.errors import UserError
from sosr_timm.options.detection import DetectorOptions

RATIOS = (0.5, 1.0, 2.0)  # height over width of an anchor
SCALES = (2**0, 2 ** (1 / 3), 2 ** (2 / 3))  # of the anchors of a level
ADDED_LEVELS = 2  # P6 and P7
DIVISOR = 32  # padded images have sides that it divides
BEND = 1 / 9  # of smooth L1, in units of the box coder
# What offsets and sizes of boxes are multiplied with: one over 0.1, 0.1, 0.2, 0.2.
BOX_WEIGHTS = (10.0, 10.0, 5.0, 5.0)


class Pyramid(nn.Module):
    """Feature maps P3 to P7: the backbone's last three and two that are made from the last one.

    Args:
        maps: of the backbone.
        out_channels: of each level.
    """

    def __init__(self, maps: FeatureMaps, out_channels: int):
        super().__init__()
        self.maps, self.out_channels = maps, out_channels
        added = LastLevelP6P7(maps.channels[-1], out_channels)
        added.use_P5 = False  # from the backbone's last map, also where it has as many channels as the pyramid
        self.fpn = FeaturePyramidNetwork(list(maps.channels), out_channels, extra_blocks=added)

    @property
    def strides(self) -> list[int]:
        """Of P3 to P7, in pixels."""
        last = self.maps.strides[-1]
        return [*self.maps.strides, *(last * 2**level for level in range(1, ADDED_LEVELS + 1))]

    def forward(self, images: Tensor) -> OrderedDict[str, Tensor]:
        return self.fpn(OrderedDict(zip(("P3", "P4", "P5"), self.maps(images), strict=True)))


class NormalisedAndPadded(nn.Module):
    """Images in [0, 1] of any size as one normalised tensor; 0, the mean colour, fills what they do not cover.

    It takes the place of torchvision's transform, which would resize; ours are resized by the loader.
    """

    def __init__(self, mean: Sequence[float], std: Sequence[float]):
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(-1, 1, 1), persistent=False)

    def forward(self, images: list[Tensor], targets: list[dict[str, Tensor]] | None = None):
        sizes = [(image.shape[-2], image.shape[-1]) for image in images]
        height, width = (-(-max(size[side] for size in sizes) // DIVISOR) * DIVISOR for side in (0, 1))
        batch = images[0].new_zeros(len(images), len(images[0]), height, width)
        for place, image in zip(batch, images, strict=True):
            place[:, : image.shape[-2], : image.shape[-1]] = (image - self.mean) / self.std
        return ImageList(batch, sizes), targets

    def postprocess(self, detections: list[dict[str, Tensor]], shown: object, original: object):
        """The detections, which are in the coordinates of the images given."""
        return detections


class BoxHead(RetinaNetRegressionHead):
    """torchvision's head of the boxes with the smooth L1 loss: a mean over the positive anchors' four values.

    Sums over the images of a batch are averaged, as torchvision does.
    """

    def __init__(self, in_channels: int, anchors: int):
        super().__init__(in_channels, anchors)
        self.box_coder = BoxCoder(weights=BOX_WEIGHTS)

    def compute_loss(self, targets, head_outputs, anchors, matched_idxs) -> Tensor:
        losses = []
        found = head_outputs["bbox_regression"]
        for target, output, of_image, matched in zip(targets, found, anchors, matched_idxs, strict=True):
            positive = torch.where(matched >= 0)[0]
            wanted = self.box_coder.encode_single(target["boxes"][matched[positive]], of_image[positive])
            total = F.smooth_l1_loss(output[positive].float(), wanted.float(), reduction="sum", beta=BEND)
            losses.append(total / (4 * max(1, len(positive))))
        return torch.stack(losses).mean()


class Detector(RetinaNet):
    """RetinaNet over a padded batch.

    Args:
        backbone: the pyramid.
        about: of the backbone: how images are normalised.
        num_classes: K, without a background class.
        options: of the detector.
    """

    def __init__(self, backbone: Pyramid, about: Backbone, num_classes: int, options: DetectorOptions):
        sides = [stride * options.anchor_scale for stride in backbone.strides]
        anchors = AnchorGenerator(
            tuple(tuple(side * scale for scale in SCALES) for side in sides), (RATIOS,) * len(sides)
        )
        count = anchors.num_anchors_per_location()[0]
        head = RetinaNetHead(backbone.out_channels, count, num_classes)
        if options.box_loss == "smooth_l1":
            head.regression_head = BoxHead(backbone.out_channels, count)
        super().__init__(
            backbone,
            num_classes,
            anchor_generator=anchors,
            head=head,
            proposal_matcher=Matcher(options.positive_iou, options.negative_iou, allow_low_quality_matches=False),
            score_thresh=options.score_threshold,
            nms_thresh=options.nms_threshold,
            detections_per_img=options.max_detections,
        )
        self.transform = NormalisedAndPadded(about.mean, about.std)
        self.box_coder = head.regression_head.box_coder
        self.num_classes, self.freeze_bn = num_classes, options.freeze_bn

    def train(self, mode: bool = True) -> Detector:
        super().train(mode)
        if self.freeze_bn:
            for module in self.backbone.maps.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self

    def forward(
        self,
        images: Tensor,
        sizes: Sequence[tuple[int, int]],
        boxes: Sequence[Tensor] | None = None,
        labels: Sequence[Tensor] | None = None,
    ):
        """Losses of a batch in training, detections in evaluation.

        Args:
            images: (M, C, H, W) in [0, 1].
            sizes: (height, width) of each image, which fills the upper left corner; the rest is padding.
            boxes: (n, 4) of each image, in pixels; for training.
            labels: (n,) int64 of each image; for training.

        Returns:
            in training `classification` (focal loss, gamma 2, alpha 0.25) and `bbox_regression`, scalars; in evaluation
            a dict of `boxes`, `labels` and `scores` for each image.
        """
        views = [image[:, :height, :width] for image, (height, width) in zip(images, sizes, strict=True)]
        targets = None
        if self.training:
            targets = [{"boxes": box, "labels": label} for box, label in zip(boxes, labels, strict=True)]
        return super().forward(views, targets)


def create_detector(model: nn.Module, about: Backbone, num_classes: int, options: DetectorOptions) -> Detector:
    """RetinaNet on the feature maps of a classifier, on the CPU.

    Raises:
        UserError: a backbone without feature maps, without gradient checkpointing where it is asked for, or thresholds
            that contradict each other.
    """
    if options.negative_iou > options.positive_iou:
        raise UserError(
            f"--negative-iou {options.negative_iou:g} is above --positive-iou {options.positive_iou:g}: an anchor "
            "would be an object and background at once"
        )
    if options.grad_checkpointing:
        try:
            model.set_grad_checkpointing(enable=True)
        except (AttributeError, AssertionError, NotImplementedError):
            raise UserError(f"model '{about.model}' has no gradient checkpointing") from None
    maps = FeatureMaps(model, about.model, about.channels, options.feature_maps)
    return Detector(Pyramid(maps, options.pyramid_channels), about, num_classes, options)
