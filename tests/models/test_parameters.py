"""The networks of the papers have exactly the sizes that their sources have."""

import pytest
import timm
import torch
from timm.models import model_entrypoint
from torch.utils.flop_counter import FlopCounterMode

import sosr_timm.models  # noqa: F401

OURS = [name for name in timm.list_models() if model_entrypoint(name).__module__.startswith("sosr_timm.")]
PARAMETERS = {
    "cifar_vgg19_bn": 20_086_692,
    "cifar_resnet56": 614_452,
    "cifar_resnet110": 1_170_868,
    "cifar_se_resnet110": 1_299_892,
    "cifar_regnetx_200mf": 2_355_156,
    "cifar_densenet_100_12": 800_032,
    "cifar_wrn_28_10": 36_536_884,
    "cifar_pyramidnet_110_48": 1_778_556,
    "cifar_pyramidnet_110_84": 3_913_536,
    "cifar_mobilenet": 3_309_476,
    "cifar_mobilenetv2": 2_412_212,
    "cifar_resnext29_2x64d": 9_221_028,
    "cifar_resnet18": 11_220_132,
    "cifar_resnet34": 21_328_292,
    "cifar_resnet50": 23_705_252,
    "cifar_resnet101": 42_697_380,
    "cifar_resnet8": 83_892,
    "cifar_resnet20": 278_324,
    "cifar_resnet32": 550_388,
    "cifar_resnet32_causal_norm": 550_288,
    "cifar_resnet110_2d": 1_145_982,
}


def parameters(name: str, **options) -> int:
    model = timm.create_model(name, device="meta", **options)
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize(("name", "expected"), PARAMETERS.items())
def test_parameters_at_100_classes(name, expected):
    assert parameters(name, num_classes=100) == expected
    if name not in ("cifar_resnet8", "cifar_resnet20"):  # whose docstrings count at 10 classes
        assert f" {expected:,} parameters at 100 classes" in model_entrypoint(name).__doc__


@pytest.mark.parametrize(
    ("name", "num_classes", "expected"),
    [
        ("cifar_resnet8", 10, 78_042),
        ("cifar_resnet20", 10, 272_474),
        ("cifar_resnet56", 200, 640_152),
        ("cifar_resnet110", 200, 1_196_568),
        ("cifar_resnet110_2d", 10, 1_145_712),
        ("cifar_vgg19_bn", 10, 20_040_522),
    ],
)
def test_parameters_at_other_numbers_of_classes(name, num_classes, expected):
    assert parameters(name, num_classes=num_classes) == expected


def test_resnet32_has_resnet32s_parameters_and_a_second_last_block():
    """464,154 is the size of ResNet-32 with padded shortcuts (He et al. 2016; 0.46M in their table 6)."""
    block = 2 * 64 * 64 * 9 + 4 * 64
    assert parameters("cifar_resnet32", num_classes=10) == 464_154 + block + 64 * 10


def test_imagenets_resnets_but_for_the_stem():
    for depth in (18, 34, 50, 101):
        stems = 64 * 3 * (7 * 7 - 3 * 3)
        ours = parameters(f"cifar_resnet{depth}", num_classes=1000)
        assert ours == parameters(f"resnet{depth}", num_classes=1000) - stems


@pytest.mark.parametrize(
    ("name", "billions"),
    [
        ("cifar_wrn_28_10", "5.2"),
        ("cifar_resnet18", "0.56"),
        ("cifar_resnet50", "1.30"),
        ("cifar_vgg19_bn", "0.40"),
        ("cifar_densenet_100_12", "0.29"),
    ],
)
def test_multiplications_for_an_image(name, billions):
    """Strides and sizes, which parameters do not show, against the figures that are usually printed."""
    model = timm.create_model(name, num_classes=100, device="meta").eval()
    with FlopCounterMode(display=False) as counter:
        model(torch.zeros(1, 3, 32, 32, device="meta"))
    digits = len(billions.partition(".")[2])
    assert f"{counter.get_total_flops() / 2e9:.{digits}f}" == billions


@pytest.mark.parametrize("name", OURS)
def test_the_default_says_which_images_it_wants(name):
    model = timm.create_model(name, device="meta")
    config = timm.data.resolve_data_config(model=model)
    assert config["input_size"] == model.pretrained_cfg["input_size"]
    assert model.num_classes == model.pretrained_cfg["num_classes"]
    assert model.pretrained_cfg["architecture"] == name
    for key in ("first_conv", "classifier"):
        assert f"{model.pretrained_cfg[key]}.weight" in model.state_dict()
    features = model.forward_features(torch.zeros(1, *config["input_size"], device="meta"))
    assert tuple(features.shape[-2:]) == model.pretrained_cfg["pool_size"]
