"""Grad-CAM: against the formula by autograd, the choice of layers, and the command."""

import numpy as np
import pytest
import timm
import torch
from scipy import ndimage

from sosr_timm.analysis import cam
from sosr_timm.analysis.cam import as_maps, explained_class, find_layer, grad_cam
from sosr_timm.errors import UserError
from sosr_timm.validation.inference_model import Placed
from tests.analysis.harness import analyze, refused, rows_of

pytest.importorskip("pytorch_grad_cam")


def placed(name, **options):
    torch.manual_seed(0)
    model = timm.create_model(name, num_classes=5, **options).eval()
    return Placed(model, torch.float32, None, False)


def low_resolution(maps, side):
    """Maps of the input's size, brought back to the layer's places (a linear enlargement keeps their middles)."""
    step = maps.shape[1] // side
    return np.stack([one[step // 2 :: step, step // 2 :: step] for one in maps])


def by_autograd(activations, gradients):
    weights = gradients.mean(dim=(2, 3), keepdim=True)
    maps = (weights * activations).sum(dim=1).relu().detach().numpy()
    low, high = maps.min(axis=(1, 2), keepdims=True), maps.max(axis=(1, 2), keepdims=True)
    return (maps - low) / (high - low + 1e-12)


def test_the_formula_on_a_convolutional_model():
    one = placed("cifar_resnet20")
    images = torch.randn(2, 3, 36, 36)
    features = one.model.forward_features(images).detach().requires_grad_(True)
    logits = one.model.forward_head(features)
    logits[[0, 1], [3, 1]].sum().backward()
    expected = by_autograd(features, features.grad)
    found = grad_cam(one, images, [3, 1], "", "run")
    assert found.maps.shape == (2, 36, 36) and found.classes.tolist() == [3, 1]
    np.testing.assert_allclose(found.probabilities, logits.softmax(dim=1)[[0, 1], [3, 1]].detach(), rtol=1e-5)
    for small, large in zip(expected, found.maps, strict=True):
        correlation = np.corrcoef(
            ndimage.zoom(small, 4, order=1, mode="nearest", grid_mode=True).ravel(), large.ravel()
        )
        assert correlation[0, 1] > 0.99
        assert np.unravel_index(small.argmax(), small.shape) == tuple(
            place // 4 for place in np.unravel_index(large.argmax(), large.shape)
        )


def test_the_formula_on_a_transformer():
    """At blocks[-1].norm1, tokens without the class token, as the authors take it."""
    one = placed("vit_tiny_patch16_224", img_size=32, patch_size=8, depth=2, embed_dim=24, num_heads=3)
    images = torch.randn(1, 3, 32, 32)
    kept = {}
    hook = one.model.blocks[-1].norm1.register_forward_hook(lambda _, __, output: kept.update(tokens=output))
    logits = one.model(images)
    hook.remove()
    (gradient,) = torch.autograd.grad(logits[0, 2], kept["tokens"])
    parts = [values[:, 1:].unflatten(1, (4, 4)).permute(0, 3, 1, 2) for values in (kept["tokens"], gradient)]
    expected = by_autograd(*parts)[0]
    found = grad_cam(one, images, [2], "", "run")
    assert found.layer == "blocks.1.norm1"
    large = ndimage.zoom(expected, 8, order=1, mode="nearest", grid_mode=True)
    assert np.corrcoef(large.ravel(), found.maps[0].ravel())[0, 1] > 0.99


@pytest.mark.parametrize(
    ("name", "options", "size", "expected"),
    [
        ("cifar_resnet20", {}, 32, "layer4"),
        ("cifar_resnet32", {"blocks": 2}, 32, "final"),
        ("test_vit", {}, 160, "blocks.5.norm1"),
        ("test_convnext", {}, 160, "norm_pre"),
        ("test_efficientnet", {}, 160, "bn2"),
        ("test_resnet", {}, 160, "layer4"),
    ],
)
def test_the_layer_that_is_chosen(name, options, size, expected):
    one = placed(name, **options)
    found, _ = find_layer(one.model, torch.randn(1, 3, size, size), "")
    maps = grad_cam(one, torch.randn(1, 3, size, size), None, "", "run").maps
    assert maps.shape == (1, size, size) and maps.max() == pytest.approx(1, abs=1e-3)
    assert found == expected


def test_activations_are_taken_before_they_are_changed_in_place():
    one = placed("cifar_resnet20")
    images = torch.randn(1, 3, 32, 32)
    kept = []
    hook = one.model.layer3[-1].bn2.register_forward_hook(lambda _, __, output: kept.append(output.clone()))
    transform = as_maps(one.model, (32, 32), "layer3.2.bn2")
    taken = []
    other = one.model.layer3[-1].bn2.register_forward_hook(lambda _, __, output: taken.append(transform(output)))
    one(images)
    hook.remove()
    other.remove()
    assert torch.equal(kept[0], taken[0]) and kept[0].min() < 0


def test_a_layer_that_the_model_does_not_call():
    one = placed("cifar_resnet20")
    one.model.add_module("unused", torch.nn.Identity())
    with pytest.raises(UserError, match="--layer unused: the model's forward pass does not call this module"):
        grad_cam(one, torch.randn(1, 3, 32, 32), None, "unused", "run")


def test_the_class_that_is_explained():
    names = ("cat", "dog")
    assert [explained_class(word, names) for word in ("top1", "label", "dog", "0")] == [None, None, 1, 0]


def test_the_command(runs, tmp_path):
    record = analyze(tmp_path, "cam", runs["ce"], runs["sosr"], "--images", 3, 0, 7, "--target", "label")
    rows = rows_of(tmp_path, "cam")
    assert [row["image"] for row in rows] == ["3", "0", "7"] * 2
    assert all(row["explained"] == row["label"] for row in rows)
    assert set(record["layers"].values()) == {"blocks.0.norm1"}
    with np.load(tmp_path / "cam.npz") as maps:
        assert maps["map_1"].shape == (3, 8, 8) and maps["images"].tolist() == [3, 0, 7]


def test_a_long_title_fits_beside_its_row(tmp_path, monkeypatch):
    figures = []
    monkeypatch.setattr(cam, "save_plot", lambda figure, path: figures.append(figure))
    maps = cam.Maps(
        "a_run_whose_title_is_longer_than_a_row", "layer4", *np.zeros((3, 1), dtype=int), np.ones((1, 4, 4))
    )
    cam.draw(tmp_path / "cam.png", np.zeros((1, 4, 4, 3)), [maps], ["cat"], ("cat",), 0.5)
    (figure,) = figures
    figure.canvas.draw()
    labels = [axes.yaxis.label.get_window_extent() for axes in figure.axes[:2]]
    assert labels[0].y0 > labels[1].y1 and labels[1].y0 > 0


def test_mistakes(runs):
    run = runs["ce"]
    refused(
        "--layer: the model has no module 'block.0.norm1': did you mean 'blocks.0.norm1'",
        "cam",
        run,
        "--layer",
        "block.0.norm1",
    )
    refused(r"--layer head gives \(1, 10\), which is no feature map", "cam", run, "--layer", "head")
    refused("--images 40: the split has images 0 to 39", "cam", run, "--images", 40)
    refused("--target 10: the classes are numbered 0 to 9", "cam", run, "--target", 10)
    refused("--target: unknown class 'cat'", "cam", run, "--target", "cat")
