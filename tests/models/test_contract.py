"""What every model of ours owes timm, over the registry: a new model is tested by existing."""

import copy

import pytest
import safetensors.torch
import timm
import torch
from timm.models import ResNet, load_checkpoint, model_entrypoint
from timm.optim import create_optimizer_v2

import sosr_timm.models  # noqa: F401

OURS = [name for name in timm.list_models() if model_entrypoint(name).__module__.startswith("sosr_timm.")]
# Same class, fewer and narrower layers: what is tested here is the same, and takes a twentieth of the time.
SMALL = {
    **{f"cifar_resnet{depth}": {"layers": (1, 2, 1)} for depth in (20, 56, 110)},
    **{f"cifar_resnet{depth}": {"layers": (1, 2, 1, 1), "channels": (8, 16, 24, 32)} for depth in (18, 34, 50, 101)},
    "cifar_se_resnet110": {"layers": (1, 2, 1)},
    "cifar_resnext29_2x64d": {"layers": (1, 2, 1), "channels": (8, 16, 32)},
    "cifar_resnet32": {"blocks": 2},
    "cifar_resnet32_causal_norm": {"blocks": 2},
    "cifar_densenet_100_12": {"block_config": (2, 3, 2)},
    "cifar_vgg19_bn": {"widths": (8, 8, 16, 16, 32)},
    "cifar_wrn_28_10": {"depth": 16, "width": 1},
    "cifar_pyramidnet_110_48": {"depth": 14},
    "cifar_pyramidnet_110_84": {"depth": 14},
}
# Made small, they are the one before them in all but name.
TWINS = {"cifar_resnet110", "cifar_resnet34", "cifar_resnet101", "cifar_pyramidnet_110_84"}
pytestmark = pytest.mark.parametrize("name", [name for name in OURS if name not in TWINS])


def build(name, **options):
    torch.manual_seed(0)
    return timm.create_model(name, **{**SMALL.get(name, {}), **options})


def images(name, channels=3, count=2):
    size = max(16, timm.get_pretrained_cfg(name).min_input_size[-1]) if name.startswith("cifar_") else 32
    return torch.randn(count, channels, size, size, generator=torch.Generator().manual_seed(1))


def test_forward_and_backward_reach_every_parameter(name):
    model = build(name, num_classes=7, in_chans=1).train()
    logits = model(images(name, channels=1))
    assert logits.shape == (2, 7)
    logits.square().mean().backward()
    for parameter_name, parameter in model.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert parameter.grad.isfinite().all(), parameter_name


def test_head(name):
    model = build(name, num_classes=7).eval()
    with torch.no_grad():
        features = model.forward_features(images(name))
        pooled = model.forward_head(features, pre_logits=True)
        mean = features.mean(dim=(2, 3))
        to_plane = getattr(model, "fc2", torch.nn.Identity())  # of the model with 2-D features
        torch.testing.assert_close(pooled, to_plane(mean))
        assert mean.shape[1] == model.num_features
        torch.testing.assert_close(model(images(name)), model.get_classifier()(pooled))
        assert pooled.shape[1] == model.head_hidden_size
        model.reset_classifier(3)
        assert model.num_classes == 3
        assert model(images(name)).shape == (2, 3)
        model.reset_classifier(0)
        torch.testing.assert_close(model(images(name)), pooled)
        model.reset_classifier(0, "")
        torch.testing.assert_close(model(images(name)), features)
    assert build(name, num_classes=0, device="meta")(images(name).to("meta")).shape == pooled.shape


def test_intermediates_are_the_features(name):
    model = build(name).eval()
    alone = build(name, features_only=True).eval()
    with torch.no_grad():
        last, intermediates = model.forward_intermediates(images(name))
        torch.testing.assert_close(last, model.forward_features(images(name)))
        torch.testing.assert_close(intermediates[-1], last)
        for feature, other in zip(intermediates, alone(images(name)), strict=True):
            torch.testing.assert_close(feature, other)
        some = model.forward_intermediates(images(name), indices=[0, 2], intermediates_only=True, stop_early=True)
        final_two = model.forward_intermediates(images(name), indices=2, intermediates_only=True)
    torch.testing.assert_close(some, [intermediates[0], intermediates[2]])
    torch.testing.assert_close(final_two, intermediates[-2:])
    assert [feature.shape[1] for feature in intermediates] == alone.feature_info.channels()
    size = images(name).shape[-1]
    assert [size // feature.shape[2] for feature in intermediates] == alone.feature_info.reduction()


def test_pruned_to_some_features(name):
    model = build(name).eval()
    with torch.no_grad():
        logits = model(images(name))
        expected = model.forward_intermediates(images(name), intermediates_only=True)
        last = len(expected) - 1
        for index in (0, 1, last):
            pruned = copy.deepcopy(model)
            assert pruned.prune_intermediate_layers([index]) == [index]
            torch.testing.assert_close(pruned.forward_features(images(name)), expected[index])
            assert pruned.num_classes == 0
        kept = copy.deepcopy(model)
        kept.prune_intermediate_layers([last], prune_head=False)
        torch.testing.assert_close(kept(images(name)), logits)


def test_checkpointing_changes_no_gradient(name):
    gradients = []
    for enable in (False, True):
        model = build(name, num_classes=7).train()
        model.set_grad_checkpointing(enable)
        model(images(name)).square().mean().backward()
        gradients.append({key: parameter.grad for key, parameter in model.named_parameters()})
    torch.testing.assert_close(gradients[1], gradients[0])


def test_dropping_works(name):
    paths = {} if name in ("cifar_vgg19_bn", "cifar_densenet_100_12") else {"drop_path_rate": 0.2}
    model = build(name, num_classes=7, drop_rate=0.5, **paths).train()
    torch.manual_seed(0)
    assert not torch.equal(model(images(name)), model(images(name)))
    assert torch.equal(model.eval()(images(name)), model(images(name)))


def test_safetensors_round_trip(name, tmp_path):
    model, other = build(name, num_classes=7).eval(), build(name, num_classes=7).eval()
    torch.nn.init.zeros_(other.get_classifier().weight)
    safetensors.torch.save_file(model.state_dict(), tmp_path / "model.safetensors")
    load_checkpoint(other, str(tmp_path / "model.safetensors"))
    with torch.no_grad():
        assert torch.equal(model(images(name)), other(images(name)))
        overlay = {"file": str(tmp_path / "model.safetensors"), "num_classes": 7}
        again = build(name, pretrained=True, num_classes=7, pretrained_cfg_overlay=overlay).eval()
        assert torch.equal(model(images(name)), again(images(name)))
        fresh_head = build(name, pretrained=True, num_classes=5, in_chans=1, pretrained_cfg_overlay=overlay)
    assert fresh_head.get_classifier().weight.shape[0] == 5
    first = model.pretrained_cfg["first_conv"]
    expected = model.get_submodule(first).weight.sum(dim=1, keepdim=True)
    torch.testing.assert_close(fresh_head.get_submodule(first).weight, expected)


def test_layer_decay_grows_towards_the_head(name):
    model = build(name)
    groups = create_optimizer_v2(model, opt="sgd", lr=0.1, layer_decay=0.5).param_groups
    scale = {id(parameter): group["lr_scale"] for group in groups for parameter in group["params"]}
    scales = [scale[id(parameter)] for parameter in model.parameters()]
    assert scales == sorted(scales)
    assert len(set(scales)) >= len(model.feature_info)
    first = model.get_submodule(model.pretrained_cfg["first_conv"])
    assert scale[id(first.weight)] == scales[0] < scales[-1] == scale[id(model.get_classifier().weight)] == 1.0
    assert len(scale) == len(list(model.parameters()))


def test_the_seed_decides_the_weights_and_typos_are_refused(name):
    first, second = build(name).state_dict(), build(name).state_dict()
    assert all(torch.equal(first[key], second[key]) for key in first)
    with pytest.raises(TypeError, match="widht"):
        build(name, widht=3, device="meta")


def test_channels_last_and_half_precision_change_no_more_than_rounding(name):
    model = build(name, num_classes=7).eval()
    with torch.no_grad():
        expected = model(images(name))
        last = model.to(memory_format=torch.channels_last)
        found = last(images(name).to(memory_format=torch.channels_last))
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
        with torch.autocast("cpu", torch.bfloat16):
            assert (model(images(name)).float() - expected).abs().max() < 0.1 * expected.abs().max() + 0.05


def test_initialisation_is_that_of_the_authors(name):
    model = build(name)
    for module in model.modules():
        if isinstance(module, torch.nn.Conv2d) and module.weight.numel() > 2000:
            groups = 1 if isinstance(model, ResNet) else module.groups
            std = (2 / (module.kernel_size[0] ** 2 * module.out_channels // groups)) ** 0.5
            assert module.weight.std().item() == pytest.approx(std, rel=0.1)
            assert abs(module.weight.mean().item()) < 0.1 * std
        if isinstance(module, torch.nn.BatchNorm2d):
            assert (module.weight == 1).all()
            assert (module.bias == 0).all()
    bound = model.head_hidden_size**-0.5
    assert 0.9 * bound < model.get_classifier().weight.abs().max() <= bound
