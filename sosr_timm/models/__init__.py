"""Models: importing this registers them with timm, so that `timm.create_model` knows them by name."""

from sosr_timm.models import cifar_resnet, sosr_resnet
from sosr_timm.models.weights import HUB_ORGANISATION, WeightsNotFoundError

__all__ = ["HUB_ORGANISATION", "WeightsNotFoundError", "cifar_resnet", "sosr_resnet"]
