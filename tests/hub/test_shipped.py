"""The weights that come with the package: offline, with the top-1 of their record to the last digit, in the wheel."""

import ast
import json
import os
import subprocess
import sys
from importlib import resources
from pathlib import Path

import pytest
import timm
import torch
from huggingface_hub import metadata_load

import sosr_timm
from sosr_timm.data.sources.catalog import open_source
from sosr_timm.data.sources.embedded import FASHION_MNIST_SYSTEM_FOLDER
from sosr_timm.data.transforms.image import evaluation_transform
from sosr_timm.models.weights import SHIPPED, needs_this_package
from sosr_timm.options.train import ModelOptions
from sosr_timm.results import load_result
from sosr_timm.setup.image_format import image_format

NAME = "cifar_resnet20.sosr_fashion_mnist"
ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.skipif(not FASHION_MNIST_SYSTEM_FOLDER.is_dir(), reason="needs Debian's package dataset-fashion-mnist")
def test_the_shipped_weights_have_the_recorded_top1():
    recorded = json.loads((SHIPPED / NAME / "evaluation.json").read_text())["weights"]["weights"]
    source = open_source("fashion_mnist", None, "validation")
    model = timm.create_model(NAME, pretrained=True).eval()
    form = image_format(ModelOptions(model=NAME, pretrained=True), source.info, model, None)
    transform = evaluation_transform(form)
    correct = 0
    with torch.inference_mode():
        for start in range(0, len(source), 500):
            images, labels = zip(*(source.load(index) for index in range(start, start + 500)), strict=True)
            logits = model(torch.stack([transform(image) for image in images]))
            correct += int((logits.argmax(dim=1) == torch.tensor(labels)).sum())
    assert len(source) == recorded["count"]
    assert 100.0 * correct / len(source) == recorded["top1"]


def test_the_default_of_the_network_is_still_the_one_without_weights():
    assert timm.create_model("cifar_resnet20").conv1.weight.shape[1] == 3
    assert timm.get_pretrained_cfg("cifar_resnet20").tag == "untrained"
    assert NAME in timm.list_models("cifar_resnet20*", pretrained=True)
    assert sosr_timm.models


def test_other_heads_and_other_channels_load_too():
    shipped = timm.create_model(NAME, pretrained=True)
    other = timm.create_model(NAME, pretrained=True, num_classes=3, in_chans=3)
    assert (other.num_classes, other.conv1.weight.shape[1]) == (3, 3)
    assert torch.equal(other.layer3[2].conv2.weight, shipped.layer3[2].conv2.weight)


@pytest.mark.parametrize("folder", sorted(path.name for path in SHIPPED.iterdir()))
def test_a_folder_is_whole_and_its_records_agree(folder):
    place = SHIPPED / folder
    config = json.loads((place / "config.json").read_text())
    assert f"{config['architecture']}.{config['pretrained_cfg']['tag']}" == folder
    assert needs_this_package(config["architecture"])
    result = load_result(place / "result.json")
    assert load_result(ROOT / "results" / result.file_name()) == result
    assert "dirty" not in result.environment["commit"]
    evaluated = json.loads((place / "evaluation.json").read_text())["weights"]["weights"]
    assert evaluated["top1"] in (result.best["top1"], result.last["top1"])
    (results,) = metadata_load(place / "README.md")["model-index"][0]["results"]
    assert results["metrics"][0]["value"] == evaluated["top1"]


def test_the_weights_are_in_the_wheel():
    section = (ROOT / "pyproject.toml").read_text().partition("[tool.setuptools.package-data]\nsosr_timm = ")[2]
    patterns = ast.literal_eval(section.splitlines()[0])
    packed = {path for pattern in patterns for path in (ROOT / "sosr_timm").glob(pattern)}
    here = Path(str(resources.files("sosr_timm"))) / "models" / "shipped" / NAME
    assert set(here.iterdir()) <= packed
    assert ROOT / "sosr_timm" / "hub" / "card.md.jinja" in packed


@pytest.mark.slow
def test_a_wheel_installed_elsewhere_loads_them(tmp_path):
    import shutil

    copy = shutil.copytree(ROOT, tmp_path / "copy", ignore=shutil.ignore_patterns(".git", "output", "build"))
    build = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-w", tmp_path, copy]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    install = [sys.executable, "-m", "pip", "install", "--no-deps", "--target", tmp_path / "site", wheel]
    subprocess.run(install, check=True, capture_output=True)
    code = f"import sosr_timm, timm; timm.create_model({NAME!r}, pretrained=True); print(sosr_timm.__file__)"
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site"), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith(str(tmp_path / "site"))
