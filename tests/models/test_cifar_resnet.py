"""The CIFAR ResNets against the paper's network written out by hand."""

import pytest
import timm
import torch
import torch.nn.functional as F

import sosr_timm.models  # noqa: F401


def by_hand(state, image, blocks, bottleneck):
    """The network of He et al. (section 4.2) from its weights, one line a layer."""

    def normalised(x, name):
        mean, variance = state[f"{name}.running_mean"], state[f"{name}.running_var"]
        return F.batch_norm(x, mean, variance, state[f"{name}.weight"], state[f"{name}.bias"])

    x = normalised(F.conv2d(image, state["conv1.weight"], padding=1), "bn1").relu()
    for stage in (1, 2, 3):
        for block in range(blocks):
            at = f"layer{stage}.{block}"
            stride = 2 if stage > 1 and block == 0 else 1
            shortcut = x
            if f"{at}.downsample.0.weight" in state:
                assert block == 0
                shortcut = F.conv2d(x, state[f"{at}.downsample.0.weight"], stride=stride)
                shortcut = normalised(shortcut, f"{at}.downsample.1")
            if bottleneck:
                x = normalised(F.conv2d(x, state[f"{at}.conv1.weight"]), f"{at}.bn1").relu()
                x = normalised(F.conv2d(x, state[f"{at}.conv2.weight"], stride=stride, padding=1), f"{at}.bn2").relu()
                x = normalised(F.conv2d(x, state[f"{at}.conv3.weight"]), f"{at}.bn3")
            else:
                x = normalised(F.conv2d(x, state[f"{at}.conv1.weight"], stride=stride, padding=1), f"{at}.bn1").relu()
                x = normalised(F.conv2d(x, state[f"{at}.conv2.weight"], padding=1), f"{at}.bn2")
            x = (x + shortcut).relu()
    return F.linear(x.mean(dim=(2, 3)), state["fc.weight"], state["fc.bias"])


@pytest.mark.parametrize(
    ("name", "blocks", "bottleneck"),
    [
        ("cifar_resnet8", 1, False),
        ("cifar_resnet20", 3, False),
        ("cifar_resnet56", 6, True),
        ("cifar_resnet110", 12, True),
    ],
)
def test_the_network_by_hand(name, blocks, bottleneck):
    torch.manual_seed(0)
    model = timm.create_model(name).double()
    image = torch.randn(4, 3, 32, 32, dtype=torch.float64)
    model.train()(image)  # running statistics that are not 0 and 1
    with torch.no_grad():
        expected = by_hand(model.state_dict(), image, blocks, bottleneck)
        torch.testing.assert_close(model.eval()(image), expected)


@pytest.mark.parametrize("size", [8, 28, 32, 64])
def test_image_sizes(size):
    model = timm.create_model("cifar_resnet20", in_chans=1)
    assert model(torch.randn(2, 1, size, size)).shape == (2, 10)
    assert model.forward_features(torch.randn(2, 1, size, size)).shape == (2, 64, size // 4, size // 4)


def test_output_stride():
    with torch.no_grad():
        dense = timm.create_model("cifar_resnet20", features_only=True, output_stride=2)
        assert [feature.shape[-1] for feature in dense(torch.randn(1, 3, 32, 32))] == [32, 32, 16, 16]
        assert dense.feature_info.reduction() == [1, 1, 2, 2]
        usual = timm.create_model("cifar_resnet20", features_only=True, output_stride=16)
        assert [feature.shape[-1] for feature in usual(torch.randn(1, 3, 32, 32))] == [32, 32, 16, 8]
    with pytest.raises(ValueError, match="output_stride"):
        timm.create_model("cifar_resnet20", output_stride=1)
    with pytest.raises(ValueError, match="three stages or four"):
        timm.create_model("cifar_resnet20", layers=(1, 1, 1, 1))
    with torch.no_grad():
        wide = timm.create_model("cifar_resnet18", features_only=True, output_stride=4, channels=(8, 8, 8, 8))
        assert [feature.shape[-1] for feature in wide(torch.randn(1, 3, 32, 32))] == [32, 32, 16, 8, 8]


def test_a_stem_of_stride_2_doubles_all_strides():
    options = {"features_only": True, "stem_stride": 2}
    with torch.no_grad():
        model = timm.create_model("cifar_resnet8", **options)
        assert [feature.shape[-1] for feature in model(torch.randn(1, 3, 32, 32))] == [16, 16, 8, 4]
        assert model.feature_info.reduction() == [2, 2, 4, 8]
        dense = timm.create_model("cifar_resnet8", output_stride=4, **options)
        assert [feature.shape[-1] for feature in dense(torch.randn(1, 3, 32, 32))] == [16, 16, 8, 8]
        assert dense.feature_info.reduction() == [2, 2, 4, 4]
    with pytest.raises(ValueError, match="output_stride must be 4"):
        timm.create_model("cifar_resnet8", output_stride=2, **options)
    with pytest.raises(ValueError, match="stem_stride must be 1 or 2, not 4"):
        timm.create_model("cifar_resnet8", stem_stride=4)


def test_no_weights_are_promised_but_those_that_come_with_the_package():
    assert timm.list_models("cifar_*", pretrained=True) == ["cifar_resnet20.sosr_fashion_mnist"]
    with pytest.raises(RuntimeError, match="No pretrained weights exist for cifar_resnet56"):
        timm.create_model("cifar_resnet56", pretrained=True)


def test_compiles_whole():
    torch.manual_seed(0)
    model = timm.create_model("cifar_resnet20").train()
    image = torch.randn(4, 3, 16, 16)
    expected = model(image)
    expected.square().mean().backward()
    gradients = [parameter.grad for parameter in model.parameters()]
    model.zero_grad()
    torch.compiler.reset()
    found = torch.compile(model, backend="aot_eager", fullgraph=True)(image)
    found.square().mean().backward()
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close([parameter.grad for parameter in model.parameters()], gradients)
