"""validate.py on lists of models, with memory that runs out, and how a network is made ready."""

import csv
import json

import numpy as np
import pytest
import timm
import torch
from accelerate.state import AcceleratorState
from PIL import Image
from safetensors.torch import save_file
from timm import layers
from timm.models import build_model_with_cfg, register_model, save_for_hf
from torch import nn

from sosr_timm.data.transforms.image import ImageFormat
from sosr_timm.errors import UserError
from sosr_timm.options.load import load
from sosr_timm.options.validate import EvaluatedModelOptions, ValidateOptions
from sosr_timm.validation import model_list as several
from sosr_timm.validation.inference_model import place
from sosr_timm.validation.main import run_validation
from tests.training.harness import validate

DATA = ("--dataset", "digits", "--num-samples", "40", "--batch-size", "16", "--workers", "0")
MOST = 6  # images that fit into the memory of the network below


class Hungry(nn.Module):
    """Asks for more memory than there is for more than six images, and for more than any for an eighth class."""

    num_classes = 10

    def __init__(self, **unused):
        super().__init__()
        self.fc = nn.Linear(64, 10)

    def forward(self, images):
        if len(images) > MOST:
            torch.empty(2**50, dtype=torch.float64)
        return self.fc(images.flatten(1))


@register_model
def hungry_test_net(pretrained=False, **arguments):
    return build_model_with_cfg(Hungry, "hungry_test_net", pretrained, pretrained_cfg={"input_size": (1, 8, 8)})


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Two models in timm's format and a file of names, one of which has no weights."""
    root = tmp_path_factory.mktemp("models")
    fed = {"mean": (0.3059,), "std": (0.3763,), "input_size": (1, 8, 8), "crop_pct": 1.0}
    names = []
    for seed in range(2):
        torch.manual_seed(seed)
        model = timm.create_model("cifar_resnet20", num_classes=10, in_chans=1)
        model.pretrained_cfg = {**model.pretrained_cfg, **fed}
        save_for_hf(model, str(root / str(seed)), safe_serialization=True)
        names.append(f"local-dir:{root / str(seed)}")
        (root / "weights").mkdir(exist_ok=True)
        save_file(model.state_dict(), root / "weights" / f"model-{9 + seed}.safetensors")
    names.insert(1, f"local-dir:{root / 'missing'}")
    (root / "names.txt").write_text("# three\n\n" + "\n".join(names) + "\n")
    return root


def test_a_failing_model_is_a_row_and_the_file_is_written_after_each(folders, capsys, tmp_path, monkeypatch):
    written = []
    real = several.write_results
    monkeypatch.setattr(
        several, "write_results", lambda file, form, rows: (real(file, form, rows), written.append(len(rows)))
    )
    file = tmp_path / "r.csv"
    arguments = ("--model", folders / "names.txt", *DATA, "--results-file", file)
    rows = validate(capsys, *arguments, code=1)
    assert written == [1, 2, 3]
    assert rows[0]["top1"] >= rows[1]["top1"]
    assert "missing" in rows[2]["model"] and rows[2]["error"]
    table = list(csv.DictReader(file.open()))
    assert [row["model"] for row in table] == [row["model"] for row in rows]
    alone = validate(capsys, "--model", rows[0]["model"], *DATA)["weights"]["weights"]
    assert float(table[0]["top1"]) == alone["top1"]
    validate(capsys, *arguments[:-1], file, code=1)
    assert (tmp_path / "r.csv.old").is_file()


def test_an_interrupt_loses_nothing(folders, capsys, tmp_path, monkeypatch):
    real, done = several.evaluate_model, []

    def interrupted(*arguments, **words):
        if done:
            raise KeyboardInterrupt
        done.append(1)
        return real(*arguments, **words)

    monkeypatch.setattr(several, "evaluate_model", interrupted)
    rows = validate(capsys, "--model", folders / "names.txt", *DATA, "--results-file", tmp_path / "r.json", code=130)
    assert len(rows) == 1
    assert json.loads((tmp_path / "r.json").read_text()) == rows


def test_every_checkpoint_of_a_folder(folders, capsys):
    data = (*DATA, "--img-size", "8")
    rows = validate(capsys, "--model", "cifar_resnet20", "--checkpoint", folders / "weights", *data)
    assert {row["checkpoint"][-13:] for row in rows} == {"9.safetensors", "0.safetensors"}
    assert rows[0]["top1"] >= rows[1]["top1"]


def test_memory_that_runs_out(capsys, tmp_path):
    torch.manual_seed(0)
    save_file(Hungry().state_dict(), tmp_path / "hungry.safetensors")
    arguments = ("--model", "hungry_test_net", "--checkpoint", tmp_path / "hungry.safetensors", *DATA)
    record = validate(capsys, *arguments, "--retry")
    assert record["batch_size"] == MOST
    assert record["weights"]["weights"]["count"] == 40
    AcceleratorState._reset_state(True)
    with pytest.raises(UserError, match="out of memory at --batch-size 16: try 12, or let --retry"):
        run_validation(load(ValidateOptions, [str(argument) for argument in arguments]))


FORM = ImageFormat(3, 64, 64, (0.5,) * 3, (0.5,) * 3, "bilinear", 0.9, "center", "RGB")
CPU = torch.device("cpu")


def test_pooling_at_test_time_is_timms():
    torch.manual_seed(0)
    network = timm.create_model("cifar_resnet20", num_classes=10).eval()
    images = torch.randn(2, 3, 64, 64)
    features = network.forward_features(images)
    pooled = torch.nn.functional.avg_pool2d(features, 8, stride=1)
    logits = torch.einsum("mchw,kc->mkhw", pooled, network.fc.weight) + network.fc.bias[:, None, None]
    expected = 0.5 * (logits.mean(dim=(2, 3)) + logits.amax(dim=(2, 3)))
    placed, form = place(network, FORM, EvaluatedModelOptions(test_pool=True), CPU)
    assert isinstance(placed.model, layers.TestTimePoolHead)
    assert form.crop_pct == 1.0
    torch.testing.assert_close(placed.eval()(images), expected)
    small = ImageFormat(3, 32, 32, (0.5,) * 3, (0.5,) * 3, "bilinear", 0.9, "center", "RGB")
    with pytest.raises(UserError, match="not larger than the model's own"):
        place(timm.create_model("cifar_resnet20"), small, EvaluatedModelOptions(test_pool=True), CPU)


def test_fused_branches_and_half_precision():
    torch.manual_seed(0)
    network = timm.create_model("repvgg_a0", num_classes=10).eval()
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        expected = network(images)
        placed, _ = place(network, FORM, EvaluatedModelOptions(reparam=True), CPU)
        count = sum(parameter.numel() for parameter in placed.parameters())
        assert count < sum(parameter.numel() for parameter in network.parameters())
        torch.testing.assert_close(placed.eval()(images), expected, rtol=1e-3, atol=1e-3)
        half, _ = place(network, FORM, EvaluatedModelOptions(model_dtype="bfloat16"), CPU)
        logits = half.eval()(images)
    assert logits.dtype == torch.bfloat16
    assert np.allclose(logits.float(), expected, atol=0.1 * expected.abs().max())


def test_the_size_that_weights_advise(folders, capsys, tmp_path):
    config = json.loads((folders / "0" / "config.json").read_text())
    (tmp_path / "m").mkdir()
    config["pretrained_cfg"]["test_input_size"] = [1, 12, 12]
    (tmp_path / "m" / "config.json").write_text(json.dumps(config))
    (tmp_path / "m" / "model.safetensors").symlink_to(folders / "0" / "model.safetensors")
    for flags, side in (([], 12), (["--use-train-size"], 8)):
        fed = validate(capsys, "--model", f"local-dir:{tmp_path / 'm'}", *DATA, *flags)["image_format"]
        assert fed["height"] == side


def test_weights_of_other_classes_are_refused(folders, tmp_path):
    for name in "ab":
        (tmp_path / "validation" / name).mkdir(parents=True)
        Image.new("L", (8, 8)).save(tmp_path / "validation" / name / "0.png")
    AcceleratorState._reset_state(True)
    with pytest.raises(UserError, match="have 10 classes, the data set 2; --valid-labels names"):
        run_validation(load(ValidateOptions, ["--model", f"local-dir:{folders / '0'}", "--data-dir", str(tmp_path)]))
