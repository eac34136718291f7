"""sosr-export: ONNX and torch.export files that give the model's logits, with their preprocessing beside them."""

import json
import re
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from timm.data import create_transform

from sosr_timm.errors import UserError
from sosr_timm.inference import export
from sosr_timm.inference.trained_model import find_trained_run, load_trained_model
from sosr_timm.options.inference import ExportOptions, TrainedModelOptions
from sosr_timm.options.load import load
from tools.checkout import ROOT


def run_export(*arguments):
    return export.run_export(load(ExportOptions, [str(argument) for argument in arguments]))


@pytest.fixture(scope="module")
def model(run):
    options = TrainedModelOptions(model=str(run.path))
    return load_trained_model(options, find_trained_run(options))


def logits_of(path, images):
    """The logits of an exported file, with the runtime alone."""
    if path.suffix == ".pt2":
        return torch.export.load(path).module()(images)
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return torch.from_numpy(session.run(None, {"images": images.numpy()})[0])


@pytest.mark.parametrize("ending", ["onnx", "pt2"])
def test_from_an_image_file_to_the_models_logits_by_what_stands_beside_the_file(run, model, images, tmp_path, ending):
    if ending == "onnx":
        pytest.importorskip("onnxscript")
    path = tmp_path / "out" / f"model.{ending}"
    assert run_export("--model", run.path, "--output", path, "--temperature", "1.5") == 0
    assert {file.name for file in path.parent.iterdir()} == {path.name, "model.json"}
    about = json.loads(path.with_suffix(".json").read_text())
    form = about["preprocessing"]
    transform = create_transform(
        (form["channels"], form["height"], form["width"]),
        interpolation=form["interpolation"],
        crop_pct=form["crop_pct"],
        crop_mode=form["crop_mode"],
        mean=form["mean"],
        std=form["std"],
    )
    files = [images / f"val/{name}/0.png" for name in about["class_names"]]
    batch = torch.stack([transform(Image.open(file).convert(form["image_mode"])) for file in files])
    with torch.no_grad():
        expected = model.module(batch)
    for part in (batch, batch[:1]):
        assert torch.allclose(logits_of(path, part), expected[: len(part)], rtol=1e-4, atol=1e-5)
    assert about["class_names"] == ["cat", "dog", "emu"] and about["temperature"] == 1.5
    assert about["input"]["shape"] == ["batch", 3, 16, 16] and about["probabilities"] == "softmax"
    assert about["check"]["largest_difference"] < 1e-4 and about["check"]["batch_sizes"] == [1, 3]
    assert any("Resize" in step for step in form["steps"]) and np.allclose(form["mean"], model.image_format.mean)


def test_a_fixed_batch(run, tmp_path):
    path = tmp_path / "model.pt2"
    assert run_export("--model", run.path, "--output", path, "--fixed-batch", "1") == 0
    assert json.loads(path.with_suffix(".json").read_text())["input"]["shape"] == [1, 3, 16, 16]


def test_other_logits_leave_nothing_behind(run, tmp_path, monkeypatch):
    monkeypatch.setattr(export, "_read_torch", lambda path: (lambda images: torch.zeros(len(images), 3), "a test"))
    with pytest.raises(UserError, match=r"what was exported gives other logits than the model: they differ by up to"):
        run_export("--model", run.path, "--output", tmp_path / "model.pt2")
    assert not list(tmp_path.iterdir())


def test_a_model_that_cannot_be_exported_is_one_line(run, tmp_path, monkeypatch):
    def fails(*arguments):
        raise RuntimeError("data-dependent\ncontrol flow")

    monkeypatch.setattr(export, "_write_torch", fails)
    with pytest.raises(
        UserError, match=r"cannot be exported \(RuntimeError: data-dependent control flow\); --fixed-batch"
    ):
        run_export("--model", run.path, "--output", tmp_path / "model.pt2")
    assert not list(tmp_path.iterdir())


def test_a_missing_package_is_named_with_its_extra(run, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(UserError, match=r"an \.onnx file needs the package 'onnx'.*sosr-timm\[export\]"):
        run_export("--model", run.path, "--output", tmp_path / "model.onnx")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], r"--output '': name the file to write, ending in \.onnx or \.pt2"),
        (["--output", "model.bin"], "--output 'model.bin': name the file to write"),
        (["--output", "model.pt2", "--opset", "18"], r"--opset is for \.onnx"),
        (["--output", "model.pt2"], "which model\\?"),
    ],
)
def test_mistakes_are_one_line(arguments, said):
    with pytest.raises(UserError, match=said):
        run_export(*arguments)


def test_the_example_of_the_page(run, images, tmp_path, monkeypatch, capsys):
    pytest.importorskip("onnxscript")
    page = (ROOT / "docs" / "predict.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    assert run_export("--model", run.path, "--output", tmp_path / "model.onnx") == 0
    Image.open(images / "val/dog/0.png").save(tmp_path / "photo.jpg")
    monkeypatch.chdir(tmp_path)
    capsys.readouterr()
    exec(compile(example, "predict.md", "exec"), {})
    assert capsys.readouterr().out.strip() in ("cat", "dog", "emu")
