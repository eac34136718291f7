"""ResNets trained with SOSR on ImageNet, as entries of the Hub: timm's model, torchvision's initialisation.

The authors trained torchvision's ResNets, whose residual branches do not start at zero as timm's do, so here
`zero_init_last` is False unless given. Nothing else differs from `timm.create_model("resnet50")`.
"""

from __future__ import annotations

from typing import Any

from huggingface_hub.errors import EntryNotFoundError, GatedRepoError, OfflineModeIsEnabled, RepositoryNotFoundError
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model, resolve_pretrained_cfg
from timm.models.resnet import BasicBlock, Bottleneck, ResNet
from torch import nn

from sosr_timm.models.download import checked_download
from sosr_timm.models.weights import WeightsNotFoundError, hub_id, imagenet_cfg

__all__ = []  # filled by timm's decorator

default_cfgs = generate_default_cfgs(
    {
        "sosr_resnet18.in1k": imagenet_cfg("sosr_resnet18"),
        "sosr_resnet50.in1k": imagenet_cfg("sosr_resnet50"),
    }
)


def _not_found(variant: str) -> str:
    return (
        f"no weights of {variant} on the Hub at {hub_id(variant, 'in1k')} (or no connection and none in the cache). "
        f"Train them with\n"
        f"    accelerate launch train.py --config hparams/imagenet/{variant}.yaml --loss sosr\n"
        f"and publish them with\n"
        f"    sosr-hub publish RUN_FOLDER --repo-id {hub_id(variant, 'in1k')}\n"
        f"or load a file with timm.create_model({variant!r}, pretrained=True, pretrained_cfg_overlay=dict(file=...)); "
        f"pretrained=False gives random weights."
    )


def _create_sosr_resnet(variant: str, pretrained: bool, **options: Any) -> nn.Module:
    """Build the model; if its published weights are missing, raise with our own message.

    Raises:
        WeightsNotFoundError: `pretrained` and our repository, or the file in it, is not to be had. Other failures, and
            those of another repository or file the caller named, are raised as they are.
        DamagedWeightsError: what was downloaded is not what the Hub has.
    """
    try:
        with checked_download(hub_id(variant, "in1k") if pretrained else None, options.get("cache_dir")):
            return build_model_with_cfg(ResNet, variant, pretrained, **options)
    except GatedRepoError:
        raise  # it exists; the Hub's message says how to get access
    except (RepositoryNotFoundError, EntryNotFoundError, OfflineModeIsEnabled) as error:
        source = resolve_pretrained_cfg(variant, options.get("pretrained_cfg"), options.get("pretrained_cfg_overlay"))
        if source.hf_hub_id != hub_id(variant, "in1k"):
            raise
        raise WeightsNotFoundError(_not_found(variant)) from error


@register_model
def sosr_resnet18(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """ResNet-18: 11,689,512 parameters at 1000 classes."""
    arguments = {"block": BasicBlock, "layers": (2, 2, 2, 2), "zero_init_last": False, **kwargs}
    return _create_sosr_resnet("sosr_resnet18", pretrained, **arguments)


@register_model
def sosr_resnet50(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """ResNet-50: 25,557,032 parameters at 1000 classes."""
    arguments = {"block": Bottleneck, "layers": (3, 4, 6, 3), "zero_init_last": False, **kwargs}
    return _create_sosr_resnet("sosr_resnet50", pretrained, **arguments)
