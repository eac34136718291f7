"""The other CIFAR networks against themselves written out by hand: weights by name, one line a layer."""

import pytest
import timm
import torch
import torch.nn.functional as F

import sosr_timm.models  # noqa: F401


class Weights:
    """A network's tensors by name, and the layers that read them."""

    def __init__(self, state):
        self.state = state

    def conv(self, x, name, stride=1, groups=1):
        weight = self.state[f"{name}.weight"]
        padding = weight.shape[-1] // 2
        return F.conv2d(x, weight, self.state.get(f"{name}.bias"), stride=stride, padding=padding, groups=groups)

    def norm(self, x, name):
        mean, variance = self.state[f"{name}.running_mean"], self.state[f"{name}.running_var"]
        return F.batch_norm(x, mean, variance, self.state[f"{name}.weight"], self.state[f"{name}.bias"])

    def conv_norm(self, x, name, stride=1, groups=1):
        return self.norm(self.conv(x, f"{name}.conv", stride, groups), f"{name}.bn")

    def linear(self, x, name):
        return F.linear(x.mean(dim=(2, 3)), self.state[f"{name}.weight"], self.state[f"{name}.bias"])

    def has(self, name):
        return any(key.startswith(f"{name}.") for key in self.state)


def vgg(weights, x):
    x = weights.conv_norm(x, "stem").relu()
    for stage, layers in enumerate((2, 2, 4, 4, 4)):
        for layer in range(layers - 1 if stage == 0 else layers):
            x = weights.conv_norm(x, f"stages.{stage}.{layer + (stage > 0)}").relu()
        x = F.max_pool2d(x, 2)
    return weights.linear(x, "fc")


def wide_resnet(weights, x, blocks):
    x = weights.conv(x, "stem")
    for stage in range(3):
        for block in range(blocks):
            at, stride = f"stages.{stage}.{block}", 2 if stage and not block else 1
            activated = weights.norm(x, f"{at}.norm1").relu()
            shortcut = weights.conv(activated, f"{at}.shortcut", stride) if block == 0 else x
            x = weights.conv(activated, f"{at}.conv1", stride)
            x = shortcut + weights.conv(weights.norm(x, f"{at}.norm2").relu(), f"{at}.conv2")
    return weights.linear(weights.norm(x, "final").relu(), "fc")


def pyramidnet(weights, x, blocks):
    x = weights.conv_norm(x, "stem")
    for stage in range(3):
        for block in range(blocks):
            at, stride = f"stages.{stage}.{block}", 2 if stage and not block else 1
            shortcut = F.avg_pool2d(x, 2) if stride == 2 else x
            x = weights.conv(weights.norm(x, f"{at}.norm1"), f"{at}.conv1", stride)
            x = weights.conv(weights.norm(x, f"{at}.norm2").relu(), f"{at}.conv2")
            x = weights.norm(x, f"{at}.norm3")
            x[:, : shortcut.shape[1]] += shortcut
    return weights.linear(weights.norm(x, "final").relu(), "fc")


def mobilenet(weights, x):
    x = weights.norm(weights.conv(x, "conv_stem"), "bn1").relu()
    strides = {(1, 0): 2, (2, 0): 2, (3, 0): 2, (4, 0): 2}
    for stage, layers in enumerate((1, 2, 2, 6, 2)):
        for layer in range(layers):
            at = f"blocks.{stage}.{layer}"
            x = weights.conv(x, f"{at}.conv_dw", strides.get((stage, layer), 1), groups=x.shape[1])
            x = weights.norm(x, f"{at}.bn1").relu()
            x = weights.norm(weights.conv(x, f"{at}.conv_pw"), f"{at}.bn2").relu()
    return weights.linear(x, "classifier")


def mobilenetv2(weights, x):
    x = weights.conv_norm(x, "stem").relu()
    widths = [16, *[24] * 2, *[32] * 3, *[64] * 4, *[96] * 3, *[160] * 3, 320]
    at_two = (3, 6, 13)  # the first block of 32, of 64, of 160 channels
    names = [f"stages.{stage}.{block}" for stage, blocks in enumerate((3, 3, 7, 4)) for block in range(blocks)]
    for index, (name, width) in enumerate(zip(names, widths, strict=True)):
        stride, before = 2 if index in at_two else 1, x
        x = weights.conv_norm(x, f"{name}.expand").relu()
        x = weights.conv_norm(x, f"{name}.depthwise", stride, groups=x.shape[1]).relu()
        x = weights.conv_norm(x, f"{name}.project")
        assert x.shape[1] == width
        if stride == 1:
            x = x + (before if before.shape[1] == width else weights.conv_norm(before, f"{name}.shortcut"))
    return weights.linear(weights.conv_norm(x, "final").relu(), "fc")


def densenet(weights, x, layers):
    x = weights.conv(x, "features.conv0")
    for block in (1, 2, 3):
        for layer in range(1, layers + 1):
            at = f"features.denseblock{block}.denselayer{layer}"
            new = weights.conv(weights.norm(x, f"{at}.norm1").relu(), f"{at}.conv1")
            x = torch.cat((x, weights.conv(weights.norm(new, f"{at}.norm2").relu(), f"{at}.conv2")), dim=1)
        if block < 3:
            at = f"features.transition{block}"
            x = F.avg_pool2d(weights.conv(weights.norm(x, f"{at}.norm").relu(), f"{at}.conv"), 2)
    return weights.linear(weights.norm(x, "features.norm5").relu(), "classifier")


def regnet(weights, x):
    x = weights.conv_norm(x, "stem").relu()
    for stage, (blocks, width, first_stride) in enumerate(((1, 24, 1), (1, 56, 1), (4, 152, 2), (7, 368, 2)), start=1):
        for block in range(1, blocks + 1):
            at, stride = f"s{stage}.b{block}", first_stride if block == 1 else 1
            shortcut = weights.conv_norm(x, f"{at}.downsample", stride) if block == 1 else x
            x = weights.conv_norm(x, f"{at}.conv1").relu()
            x = weights.conv_norm(x, f"{at}.conv2", stride, groups=width // 8).relu()
            x = (weights.conv_norm(x, f"{at}.conv3") + shortcut).relu()
    return weights.linear(x, "head.fc")


def long_tail_resnet(weights, x, blocks):
    def block(x, at, stride, missing):
        shortcut = F.pad(x, (0, 0, 0, 0, missing // 2, missing // 2))[:, :, ::stride, ::stride]
        x = weights.norm(weights.conv(x, f"{at}.conv1", stride), f"{at}.bn1").relu()
        return (weights.norm(weights.conv(x, f"{at}.conv2"), f"{at}.bn2") + shortcut).relu()

    x = weights.conv_norm(x, "stem").relu()
    for stage in range(3):
        for index in range(blocks - (stage == 2)):
            widens = stage > 0 and index == 0
            x = block(x, f"stages.{stage}.{index}", 2 if widens else 1, x.shape[1] if widens else 0)
    twins = [block(x, f"stages.2.{blocks - 1}.{name}", 1, 0) for name in ("first", "second")]
    return weights.linear(torch.cat(twins, dim=1), "fc")


def bottlenecks(weights, x, layers, groups=1):
    """ResNets of three or four stages, grouped or with squeeze and excitation where the weights have it."""
    x = weights.norm(weights.conv(x, "conv1"), "bn1").relu()
    for stage, blocks in enumerate(layers, start=1):
        for block in range(blocks):
            at, stride = f"layer{stage}.{block}", 2 if stage > 1 and block == 0 else 1
            shortcut = x
            if block == 0:
                shortcut = weights.norm(weights.conv(x, f"{at}.downsample.0", stride), f"{at}.downsample.1")
            x = weights.norm(weights.conv(x, f"{at}.conv1"), f"{at}.bn1").relu()
            x = weights.norm(weights.conv(x, f"{at}.conv2", stride, groups), f"{at}.bn2").relu()
            x = weights.norm(weights.conv(x, f"{at}.conv3"), f"{at}.bn3")
            if weights.has(f"{at}.se"):
                squeezed = weights.conv(x.mean(dim=(2, 3), keepdim=True), f"{at}.se.fc1").relu()
                x = x * weights.conv(squeezed, f"{at}.se.fc2").sigmoid()
            x = (x + shortcut).relu()
    return weights.linear(x, "fc")


@pytest.mark.parametrize(
    ("name", "options", "network", "arguments"),
    [
        ("cifar_vgg19_bn", {"widths": (8, 16, 16, 32, 32)}, vgg, {}),
        ("cifar_wrn_28_10", {"width": 2}, wide_resnet, {"blocks": 4}),
        ("cifar_pyramidnet_110_48", {"depth": 20}, pyramidnet, {"blocks": 3}),
        ("cifar_mobilenet", {}, mobilenet, {}),
        ("cifar_mobilenetv2", {}, mobilenetv2, {}),
        ("cifar_densenet_100_12", {}, densenet, {"layers": 16}),
        ("cifar_regnetx_200mf", {}, regnet, {}),
        ("cifar_resnet32", {}, long_tail_resnet, {"blocks": 5}),
        ("cifar_se_resnet110", {}, bottlenecks, {"layers": (12, 12, 12)}),
        ("cifar_resnext29_2x64d", {"channels": (8, 16, 32)}, bottlenecks, {"layers": (3, 3, 3), "groups": 2}),
        ("cifar_resnet50", {"channels": (8, 8, 16, 16)}, bottlenecks, {"layers": (3, 4, 6, 3)}),
    ],
)
def test_the_network_by_hand(name, options, network, arguments):
    torch.manual_seed(0)
    model = timm.create_model(name, num_classes=10, **options).double()
    image = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    with torch.no_grad():
        model.train()(image)  # running statistics that are not 0 and 1
        expected = network(Weights(model.state_dict()), image, **arguments)
        torch.testing.assert_close(model.eval()(image), expected)


@pytest.mark.parametrize("name", ["cifar_wrn_28_10", "cifar_pyramidnet_110_48"])
def test_impossible_depths_are_refused(name):
    with pytest.raises(ValueError, match="depth must be"):
        timm.create_model(name, depth=30)


@pytest.mark.parametrize("name", ["cifar_pyramidnet_110_48", "cifar_mobilenetv2", "cifar_resnet32"])
def test_odd_sizes(name):
    options = {"depth": 14} if "pyramid" in name else {}
    model = timm.create_model(name, in_chans=1, num_classes=10, **options)
    assert model(torch.randn(2, 1, 27, 29)).shape == (2, 10)


def test_features_are_in_one_format_only():
    with pytest.raises(ValueError, match="NCHW"):
        timm.create_model("cifar_resnet32").forward_intermediates(torch.zeros(1, 3, 8, 8), output_fmt="NLC")
