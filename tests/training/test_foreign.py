"""A checkpoint of timm's train.py, or of torchvision's reference, is continued from; what cannot be says so."""

import argparse
import csv
import json

import pytest
import torch
import yaml
from timm.utils import CheckpointSaver
from torch.optim.swa_utils import AveragedModel

from sosr_timm.checkpoints.foreign import read_foreign
from sosr_timm.checkpoints.format import checkpoint_folders
from sosr_timm.errors import UserError
from sosr_timm.options.load import load
from sosr_timm.options.validate import ValidateOptions
from sosr_timm.validation.main import run_validation
from tests.training.harness import SMALL, build_here, only_run, tensors_of, train_here

EMA = ("--model-ema", "--model-ema-decay", "0.5")


@pytest.fixture(scope="module")
def timms(tmp_path_factory):
    """A folder as timm's train.py leaves it after two epochs, and the tensors in it."""
    folder = tmp_path_factory.mktemp("timm")
    run = build_here(folder / "run", *SMALL, *EMA)
    for group in run.optimizer.param_groups:
        for parameter in group["params"]:
            parameter.data.add_(0.25)
            run.optimizer.state[parameter]["momentum_buffer"] = torch.full_like(parameter, 0.125)
    arguments = argparse.Namespace(model="cifar_resnet20", lr=0.05)
    saver = CheckpointSaver(
        run.model, run.optimizer.optimizer, arguments, model_ema=run.ema, checkpoint_dir=str(folder), max_history=2
    )
    saver.save_checkpoint(1, metric=50.0)
    (folder / "args.yaml").write_text(yaml.safe_dump(vars(arguments)))
    return folder, {name: tensor.clone() for name, tensor in run.model.state_dict().items()}


def continued(output, *arguments):
    assert train_here(*SMALL, *EMA, "--epochs", "3", *arguments, "--output", output) == 0
    return only_run(output)


def test_a_folder_of_timms_is_continued_with_weights_ema_optimizer_and_epoch(timms, tmp_path, capsys):
    folder, weights = timms
    run = continued(tmp_path, "--resume", folder, "--checkpoint-hist", "9")
    said = capsys.readouterr().out
    assert f"continuing from {folder / 'last.pth.tar'} at epoch 2, with its weights, EMA, optimizer" in said
    assert "not exact: the order of the images" in said and f"--config {folder / 'args.yaml'} takes those" in said
    assert [row["epoch"] for row in csv.DictReader(run.summary.open())] == ["2"]
    first = checkpoint_folders(run.checkpoints)[-1]
    assert first.name == "epoch00002-update0000000", "what was loaded is stored before the first update"
    tensors = tensors_of(first)
    assert all(torch.equal(tensors[f"model.safetensors:{name}"], tensor) for name, tensor in weights.items())
    momenta = [tensor for name, tensor in tensors.items() if "momentum_buffer" in name]
    assert momenta and all(bool((tensor == 0.125).all()) for tensor in momenta)
    assert json.loads((run.path / "result.json").read_text())["last"]["epoch"] == 2


def test_a_file_of_timms_without_its_optimizer_or_at_another_epoch(timms, tmp_path, capsys):
    folder, _ = timms
    run = continued(tmp_path, "--resume", folder / "checkpoint-1.pth.tar", "--no-resume-opt", "--start-epoch", "1")
    assert "at epoch 1, with its weights, EMA\n" in capsys.readouterr().out
    assert [row["epoch"] for row in csv.DictReader(run.summary.open())] == ["1", "2"]


def test_a_checkpoint_of_torchvisions_reference(tmp_path):
    run = build_here(tmp_path, *SMALL)
    average = AveragedModel(run.model)
    content = {"model": run.model.state_dict(), "optimizer": run.optimizer.state_dict(), "epoch": 4}
    content |= {"args": argparse.Namespace(lr=0.1), "model_ema": average.state_dict(), "lr_scheduler": {}}
    torch.save(content, tmp_path / "model_4.pth")
    found = read_foreign(tmp_path / "model_4.pth")
    assert found.epoch == 5 and found.weights.keys() == found.ema.keys() == run.model.state_dict().keys()


def test_an_old_checkpoint_of_timms_counted_the_epoch_up_itself(tmp_path):
    torch.save({"state_dict": {}, "optimizer": {}, "epoch": 4}, tmp_path / "a.pth.tar")
    assert read_foreign(tmp_path / "a.pth.tar").epoch == 4


class Anything:
    """An object that only pickle can load."""


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"a": torch.zeros(1)}, "holds no optimizer and epoch; --initial-checkpoint"),
        ({"state_dict": {}, "optimizer": {}, "epoch": Anything()}, "cannot be read without executing it"),
        ({"state_dict": {}, "optimizer": {}, "epoch": "four"}, "not a checkpoint of timm or torchvision"),
        ({"state_dict": {"x": torch.zeros(1)}, "optimizer": {}, "epoch": 0}, "not weights of cifar_resnet20"),
        ("optimizer", "its optimizer is not --opt momentum of the same parameters"),
        ("epochs", "9 epochs done, --epochs and its schedule end there"),
    ],
)
def test_what_cannot_be_continued_is_one_line_and_leaves_nothing(content, said, timms, tmp_path):
    file = tmp_path / "file.pth.tar"
    if isinstance(content, str):
        stored = torch.load(timms[0] / "last.pth.tar", weights_only=False)
        changed = {"optimizer": {"optimizer": {"state": {}, "param_groups": []}}, "epochs": {"epoch": 8}}[content]
        content = stored | changed
    torch.save(content, file)
    with pytest.raises(UserError) as caught:
        continued(tmp_path / "runs", "--resume", file)
    assert str(caught.value).startswith(f"--resume {file}: ") and said in str(caught.value)
    assert not list((tmp_path / "runs").iterdir())


def test_validate_asks_for_the_model_of_a_file_of_weights(timms):
    file = timms[0] / "last.pth.tar"
    with pytest.raises(UserError, match=r"does not say which model its weights are of: --model NAME --checkpoint"):
        run_validation(load(ValidateOptions, [str(file)]))
