"""validate.py: runs, checkpoints, timm models and folders in timm's format; the same figure as in training."""

import csv
import json

import pytest
import timm
from accelerate.state import AcceleratorState
from safetensors.torch import load_file
from timm.models import save_for_hf

from sosr_timm.checkpoints.format import checkpoint_folders
from sosr_timm.checkpoints.run_folder import RunFolder
from sosr_timm.errors import UserError
from sosr_timm.options.load import load
from sosr_timm.options.validate import ValidateOptions
from sosr_timm.validation.main import run_validation
from tests.training.harness import SMALL, TINY, only_run, train_here, validate


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> RunFolder:
    output = tmp_path_factory.mktemp("runs")
    assert train_here(*SMALL, "--loss", "sosr", "--model-ema", "--model-ema-decay", "0.5", "--output", output) == 0
    return only_run(output)


def test_a_run_folder_gives_the_figures_of_its_best_epoch(run, capsys):
    record = validate(capsys, run.path)
    stored = json.loads((run.path / "result.json").read_text())["best"]
    for name in ("top1", "top5", "loss", "ece", "brier"):
        assert record["weights"]["weights"][name] == stored[name]
        assert record["weights"]["ema"][name] == stored[f"{name}_ema"]
    assert json.loads((run.path / "evaluation.json").read_text()) == record


def test_an_evaluation_that_crops_is_the_same_in_training_and_by_any_loader(capsys, tmp_path):
    arguments = [*SMALL, *TINY, "--crop-pct", "0.8", "--no-aug", "--hflip", "0"]
    found = []
    for loader in ("auto", "workers"):
        assert train_here(*arguments, "--loader", loader, "--output", tmp_path / loader) == 0
        found.append(json.loads((only_run(tmp_path / loader).path / "result.json").read_text())["last"])
    names = ("top1", "top5", "loss", "ece", "brier")
    record = validate(capsys, only_run(tmp_path / "auto").path, "--which", "last")["weights"]["weights"]
    assert [record[name] for name in names] == [found[0][name] for name in names]
    whole = validate(capsys, only_run(tmp_path / "auto").path, "--which", "last", "--crop-pct", "1")
    assert whole["weights"]["weights"]["loss"] != record["loss"]
    assert [found[0][name] for name in names] == [found[1][name] for name in names]
    with pytest.raises(UserError, match=r"--loader device: --crop-pct 0\.8 resizes image by image"):
        train_here(*arguments, "--loader", "device", "--output", tmp_path / "device")


def test_the_last_checkpoint_and_a_checkpoint_folder(run, capsys):
    stored = json.loads((run.path / "result.json").read_text())["last"]
    assert validate(capsys, run.path, "--which", "last")["weights"]["weights"]["top1"] == stored["top1"]
    first = checkpoint_folders(run.checkpoints)[-1]
    rows = list(csv.DictReader(run.summary.open()))
    assert validate(capsys, first)["weights"]["weights"]["loss"] == float(rows[0]["eval_loss_raw"])


def test_only_the_average_of_the_weights(run, capsys):
    assert list(validate(capsys, run.path, "--use-ema")["weights"]) == ["ema"]


def test_a_folder_in_timms_format_and_a_file_of_weights(run, capsys, tmp_path):
    best = (run.checkpoints / "best").resolve()
    model = timm.create_model("cifar_resnet20", num_classes=10, in_chans=1)
    model.load_state_dict(load_file(str(best / "model.safetensors")))
    fed = {"mean": (0.3059,), "std": (0.3763,), "input_size": (1, 8, 8), "crop_pct": 1.0}
    model.pretrained_cfg = {**model.pretrained_cfg, **fed}
    save_for_hf(model, str(tmp_path / "hub"), safe_serialization=True)
    data = ["--dataset", "digits", "--num-samples", "40", "--batch-size", "16", "--workers", "0"]
    expected = validate(capsys, run.path)["weights"]["weights"]
    assert validate(capsys, "--model", f"local-dir:{tmp_path / 'hub'}", *data)["weights"]["weights"] == expected
    file = best / "model.safetensors"
    found = validate(capsys, "--model", "cifar_resnet20", "--checkpoint", file, *data, "--img-size", "8")
    assert found["weights"]["weights"] == expected


def test_results_files(run, capsys, tmp_path):
    record = validate(capsys, run.path, "--results-file", tmp_path / "a.csv", "--results-format", "csv")
    rows = {row["weights"]: row for row in csv.DictReader((tmp_path / "a.csv").open())}
    assert list(next(iter(rows.values())))[:6] == ["model", "top1", "top1_err", "top5", "top5_err", "param_count"]
    for title, metrics in record["weights"].items():
        assert rows[title]["top1"] == str(round(metrics["top1"], 4)), "rounded as timm's file is"
        assert rows[title]["top1_err"] == str(round(100 - metrics["top1"], 4))
        assert float(rows[title]["ece"]) == metrics["ece"]
    validate(capsys, run.path, "--results-file", tmp_path / "results")
    assert (tmp_path / "results").read_text().startswith("model,top1,"), "CSV, as in timm"
    record = validate(capsys, run.path, "--results-file", tmp_path / "b" / "a.md", "--metrics-avg", "macro")
    head, _, *lines = (tmp_path / "b" / "a.md").read_text().splitlines()
    assert "macro_f1_score" in head and len(lines) == len(record["weights"])
    record = validate(capsys, run.path, "--results-file", tmp_path / "a.json")
    assert record == json.loads((tmp_path / "a.json").read_text())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "nothing to evaluate: name a run folder, a checkpoint, or a model with --model"),
        (["nowhere"], "nowhere: no such run folder, checkpoint or data directory"),
        (["--model", "cifar_resnet2", "--dataset", "digits"], "unknown model 'cifar_resnet2': did you mean"),
        (["--model", "cifar_resnet20", "--dataset", "digits"], "whose weights"),
        (["--model", "cifar_resnet20", "--dataset", "digits", "--checkpoint", "none.pth"], "none.pth is no file"),
        (["--model", "cifar_resnet20"], "no data"),
        (["--model", "resnet18*,zfnet*", "--dataset", "digits"], r"--model .*: no model is like 'zfnet\*'"),
        (
            ["--model", "cifar_resnet20,cifar_resnet2", "--dataset", "digits"],
            "unknown model 'cifar_resnet2': did you mean",
        ),
        (["--model", "cifar_vgg*", "--dataset", "digits"], "none of the models like .* has published weights"),
        (["--num-gpu", "2"], "torchrun --nproc_per_node 2 validate.py"),
        (["--amp", "--model-dtype", "bfloat16"], "--model-dtype bfloat16 is for use without --amp"),
        (["--temperature", "1"], "--temperature must be at least 0 and below 1"),
        (["--log-freq", "-1"], "--log-freq must be at least 0"),
        (["--crop-border-pixels", "-1"], "--crop-border-pixels must be from 0"),
        (["--predictions", "a.txt"], "the name must end in .npz or .csv"),
        (["--compare", "README.md", "b"], "--compare README.md: neither a run folder"),
        (["--compare", "resnet1", "b"], "--compare resnet1: no such file or directory, and unknown model"),
        (["--compare", "a.npz", "b.npz"], "a.npz: no such file"),
        (["--compare", "a", "b", "--model", "c"], "leave out --model"),
    ],
)
def test_bad_input(arguments, message):
    AcceleratorState._reset_state(True)
    with pytest.raises(UserError, match=message):
        run_validation(load(ValidateOptions, arguments))


def test_another_number_of_classes_is_refused(run, tmp_path):
    from PIL import Image

    for name in "ab":
        (tmp_path / "validation" / name).mkdir(parents=True)
        Image.new("L", (8, 8)).save(tmp_path / "validation" / name / "0.png")
    AcceleratorState._reset_state(True)
    with pytest.raises(UserError, match="the model has 10 classes, the data set 2"):
        run_validation(load(ValidateOptions, [str(run.path), "--data-dir", str(tmp_path)]))
