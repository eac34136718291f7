"""Models: importing this registers them with timm, so that `timm.create_model` knows them by name."""

from sosr_timm.models import (
    causal_norm,
    cifar_bbn,
    cifar_densenet,
    cifar_mobilenet,
    cifar_mobilenetv2,
    cifar_pyramidnet,
    cifar_regnet,
    cifar_resnet,
    cifar_resnet_2d,
    cifar_resnet_wide,
    cifar_vgg,
    cifar_wrn,
    sosr_resnet,
)
from sosr_timm.models.download import DamagedWeightsError
from sosr_timm.models.weights import HUB_ORGANISATION, WeightsNotFoundError

__all__ = [
    "HUB_ORGANISATION",
    "DamagedWeightsError",
    "WeightsNotFoundError",
    "causal_norm",
    "cifar_bbn",
    "cifar_densenet",
    "cifar_mobilenet",
    "cifar_mobilenetv2",
    "cifar_pyramidnet",
    "cifar_regnet",
    "cifar_resnet",
    "cifar_resnet_2d",
    "cifar_resnet_wide",
    "cifar_vgg",
    "cifar_wrn",
    "sosr_resnet",
]
