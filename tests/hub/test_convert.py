"""Other people's weights in timm's Hub format: the same logits, and nothing executed on the way."""

import argparse
import json
import pickle

import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file

from sosr_timm.errors import UserError
from tests.hub.harness import hub_command, images

STAGES = {"channels": (4, 8, 8, 8), "layers": (1, 1, 1, 1)}


def logits_of(module, batch):
    with torch.no_grad():
        return module.eval()(batch)


def test_torchvisions_resnet18(tmp_path):
    theirs = torchvision.models.resnet18(num_classes=7)
    torch.save(theirs.state_dict(), tmp_path / "resnet18.pth")
    out = tmp_path / "resnet18.mine"
    hub_command("convert", tmp_path / "resnet18.pth", out, "--model", "resnet18.tv_in1k", "--license", "bsd-3-clause")
    ours = timm.create_model(f"local-dir:{out}", pretrained=True)
    batch = torch.randn(2, 3, 64, 64)
    assert torch.equal(logits_of(ours, batch), logits_of(theirs, batch))
    config = json.loads((out / "config.json").read_text())
    assert (config["architecture"], config["num_classes"]) == ("resnet18", 7)
    stored = config["pretrained_cfg"]
    assert (stored["tag"], stored["license"], stored["crop_pct"]) == ("mine", "bsd-3-clause", 0.875)
    assert stored["interpolation"] == "bilinear"


def timms_checkpoint(path, **more):
    torch.manual_seed(0)
    module = timm.create_model("resnet18", num_classes=5, in_chans=1, **STAGES)
    average = timm.create_model("resnet18", num_classes=5, in_chans=1, **STAGES)
    arguments = argparse.Namespace(
        model="resnet18", model_kwargs=STAGES, gp=None, mean=[0.3], std=[0.4], crop_pct=0.9, img_size=8, lr=0.1
    )
    states = {"state_dict": {f"module.{k}": v for k, v in module.state_dict().items()}}
    states["state_dict_ema"] = average.state_dict()
    torch.save({"epoch": 3, "arch": "resnet18", **states, "args": arguments, "version": 2, **more}, path)
    return module, average


@pytest.mark.parametrize("ema", [False, True])
def test_timms_checkpoint_brings_name_and_images_along(tmp_path, ema):
    networks = timms_checkpoint(tmp_path / "model_best.pth.tar")
    hub_command("convert", tmp_path / "model_best.pth.tar", tmp_path / "out", *["--ema"] * ema)
    ours = timm.create_model(f"local-dir:{tmp_path / 'out'}", pretrained=True)
    assert torch.equal(logits_of(ours, images()), logits_of(networks[ema], images()))
    stored = json.loads((tmp_path / "out" / "config.json").read_text())["pretrained_cfg"]
    assert (stored["mean"], stored["std"], stored["crop_pct"]) == ([0.3], [0.4], 0.9)
    assert stored["input_size"] == [1, 8, 8]


def test_flags_say_what_a_file_does_not(tmp_path):
    module = timm.create_model("test_resnet")
    save_file(module.state_dict(), tmp_path / "weights.safetensors")
    flags = ("--model", "test_resnet", "--img-size", "96", "--mean", "0.5", "0.5", "0.5", "--interpolation", "nearest")
    hub_command("convert", tmp_path / "weights.safetensors", tmp_path / "out", *flags)
    stored = json.loads((tmp_path / "out" / "config.json").read_text())["pretrained_cfg"]
    assert (stored["input_size"], stored["mean"], stored["interpolation"]) == ([3, 96, 96], [0.5] * 3, "nearest")


def test_a_run_folder(run, tmp_path):
    hub_command("convert", run.path, tmp_path / "resnet18.digits")
    config = json.loads((tmp_path / "resnet18.digits" / "config.json").read_text())
    assert (config["architecture"], config["pretrained_cfg"]["tag"]) == ("resnet18", "digits")
    assert {path.name for path in (tmp_path / "resnet18.digits").iterdir()} == {"config.json", "model.safetensors"}


class Trap:
    """Unpickling this would write a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def test_a_file_that_wants_to_be_executed_is_refused(tmp_path):
    timms_checkpoint(tmp_path / "evil.pth.tar", metric=Trap(tmp_path / "sprung"))
    with pytest.raises(UserError, match="without executing what it holds"):
        hub_command("convert", tmp_path / "evil.pth.tar", tmp_path / "out")
    (tmp_path / "plain.pth").write_bytes(pickle.dumps({"weight": Trap(tmp_path / "sprung")}))
    with pytest.raises(UserError, match="without executing what it holds"):
        hub_command("convert", tmp_path / "plain.pth", tmp_path / "out", "--model", "resnet18")
    assert not (tmp_path / "sprung").exists()
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{file}"], "convert takes two names"),
        (["nowhere.pth", "out"], "nowhere.pth: no run folder, and no file of weights"),
        (["{file}", "{out}"], "does not say which model it holds: give --model NAME"),
        (["{file}", "{out}", "--model", "resnet1"], "unknown model 'resnet1': did you mean"),
        (["{file}", "{out}", "--model", "resnet18.nobody"], "resnet18"),
        (["{file}", "{out}", "--model", "resnet18"], "does not hold resnet18"),
        (["{file}", "{out}", "--model", "resnet18", "--ema"], "holds no EMA weights"),
        (["{text}", "{out}", "--model", "resnet18"], "cannot be read as weights"),
        (["{list}", "{out}", "--model", "resnet18"], "holds no weights by name"),
    ],
)
def test_bad_input_is_one_line(tmp_path, arguments, message):
    torch.save({"weight": torch.zeros(1)}, tmp_path / "file.pth")
    torch.save([1], tmp_path / "list.pth")
    (tmp_path / "text.pth").write_text("text")
    names = {name: tmp_path / f"{name}.pth" for name in ("file", "list", "text")}
    with pytest.raises(UserError, match=message) as caught:
        hub_command("convert", *[word.format(out=tmp_path / "out", **names) for word in arguments])
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()
