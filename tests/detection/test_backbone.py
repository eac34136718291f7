"""The weights of a backbone: a run of train.py, published weights, a file, torchvision's."""

import pytest
import torch
import torchvision
from safetensors.torch import load_file, save_file

from sosr_timm.detection.backbone import FeatureMaps, create_backbone, rebuild_backbone
from sosr_timm.errors import UserError
from sosr_timm.models.weights import SHIPPED
from sosr_timm.options.detection import DetectorOptions
from tests.training.harness import SMALL, only_run, train_here


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    output = tmp_path_factory.mktemp("classifier")
    arguments = ("--epochs", "1", "--loss", "sosr", "--model-ema", "--train-num-samples", "24")
    assert train_here(*SMALL, *arguments, "--output", output) == 0
    return only_run(output)


def test_a_run_gives_its_weights_and_its_format(run):
    model, backbone = create_backbone(DetectorOptions(model=str(run.path)))
    stored = load_file(str(run.checkpoints / "best" / "model.safetensors"))
    state = model.state_dict()
    assert all(torch.equal(state[name], tensor) for name, tensor in stored.items())
    assert backbone.model == "cifar_resnet20" and backbone.channels == 1
    assert backbone.weights.startswith("weights of ") and "sosr(threshold=0.99, beta=0.5)" in backbone.weights
    again = rebuild_backbone(backbone)
    shapes = {name: tensor.shape for name, tensor in FeatureMaps(again, "x", 1).state_dict().items()}
    assert shapes == {name: tensor.shape for name, tensor in FeatureMaps(model, "x", 1).state_dict().items()}


def test_the_feature_maps_are_those_of_the_classifier(run):
    model, _ = create_backbone(DetectorOptions(model=str(run.path)))
    image = torch.rand(1, 1, 32, 32)
    model.eval()
    with torch.no_grad():
        logits, head = model(image), model.fc  # which the feature maps do without
        maps = FeatureMaps(model, "x", 1).eval()
        last = maps(image)[-1]
        assert torch.equal(head(last.mean(dim=(2, 3))), logits)
    assert maps.strides == (1, 2, 4) and maps.channels == (16, 32, 64)


def test_the_ema_of_a_run_or_one_of_its_checkpoints(run):
    weights, _ = create_backbone(DetectorOptions(model=str(run.path)))
    ema, backbone = create_backbone(DetectorOptions(model=str(run.path), use_ema=True))
    assert backbone.weights.startswith("ema of ")
    assert any(not torch.equal(a, b) for a, b in zip(weights.parameters(), ema.parameters(), strict=True))
    named, _ = create_backbone(DetectorOptions(model=str(run.checkpoints / "last")))
    assert all(torch.equal(a, b) for a, b in zip(weights.parameters(), named.parameters(), strict=True))


def test_published_weights_in_timm_s_format():
    folder = SHIPPED / "cifar_resnet20.sosr_fashion_mnist"
    model, backbone = create_backbone(DetectorOptions(model=f"local-dir:{folder}"))
    stored = load_file(str(folder / "model.safetensors"))
    assert torch.equal(model.state_dict()["conv1.weight"], stored["conv1.weight"])
    assert backbone.model == "cifar_resnet20" and backbone.channels == 1 and backbone.weights == "published"
    rebuild_backbone(backbone)


def test_a_file_of_weights(tmp_path, run):
    path = tmp_path / "weights.safetensors"
    stored = load_file(str(run.checkpoints / "best" / "model.safetensors"))
    save_file(stored, str(path))
    options = {"model": "cifar_resnet20", "initial_checkpoint": str(path), "model_kwargs": {"in_chans": 1}}
    with pytest.raises(UserError, match="in_chans"):
        create_backbone(DetectorOptions(**options))
    three = {**stored, "conv1.weight": stored["conv1.weight"].repeat(1, 3, 1, 1)}
    save_file(three, str(path))
    model, backbone = create_backbone(DetectorOptions(model="cifar_resnet20", initial_checkpoint=str(path)))
    assert torch.equal(model.state_dict()["fc.weight"], stored["fc.weight"]) and backbone.weights == str(path)
    with pytest.raises(UserError, match=r"nothing\.safetensors is no file"):
        create_backbone(
            DetectorOptions(model="cifar_resnet20", initial_checkpoint=str(tmp_path / "nothing.safetensors"))
        )
    path.write_text("x")
    with pytest.raises(UserError, match="cannot be read"):
        create_backbone(DetectorOptions(model="cifar_resnet20", initial_checkpoint=str(path)))


def test_torchvision_s_weights_fit_timm_s_model(monkeypatch):
    theirs = torchvision.models.resnet18(weights=None)
    kind = type(torchvision.models.ResNet18_Weights.IMAGENET1K_V1)
    monkeypatch.setattr(kind, "get_state_dict", lambda self, **options: theirs.state_dict())
    model, backbone = create_backbone(DetectorOptions(model="torchvision:resnet18"))
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(model.eval()(image), theirs.eval()(image))
    assert backbone.weights == "torchvision's IMAGENET1K_V1" and backbone.mean == (0.485, 0.456, 0.406)


def test_weights_that_cannot_be_downloaded_are_one_line(monkeypatch):
    def fail(self, **options):
        raise OSError("no route")

    monkeypatch.setattr(type(torchvision.models.ResNet18_Weights.IMAGENET1K_V1), "get_state_dict", fail)
    with pytest.raises(UserError, match=r"torchvision:resnet18: the weights cannot be downloaded \(no route\)"):
        create_backbone(DetectorOptions(model="torchvision:resnet18"))


def test_a_directory_that_is_no_run_and_options_that_a_run_states(run, tmp_path):
    with pytest.raises(UserError, match="neither a run folder nor a checkpoint"):
        create_backbone(DetectorOptions(model=str(tmp_path)))
    with pytest.raises(UserError, match="--model-kwargs is for a timm model"):
        create_backbone(DetectorOptions(model=str(run.path), model_kwargs={"drop_rate": 0.1}))
