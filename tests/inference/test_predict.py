"""sosr-predict: classes and probabilities of images without labels, from runs, checkpoints and timm models."""

import csv
import io
import json
import os
import shutil
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import torch
from accelerate.state import AcceleratorState, GradientState
from PIL import Image
from safetensors.torch import load_file
from timm.models import save_for_hf

from sosr_timm.data.transforms.image import evaluation_transform
from sosr_timm.distributed.processes import start_processes
from sosr_timm.errors import UserError
from sosr_timm.inference.predict import predict as predict_images
from sosr_timm.inference.predict import run_prediction
from sosr_timm.inference.trained_model import find_trained_run, load_trained_model
from sosr_timm.inference.unlabelled import find_images
from sosr_timm.options.inference import ExecutionOptions, PredictOptions, TrainedModelOptions
from sosr_timm.options.load import load
from tests.data.images import picture
from tests.training import many_labels
from tests.training.harness import ROOT, SMALL, free_port, only_run, train_here, validate


def predict(capsys, *arguments):
    """Predict in this process; returns what standard output got."""
    AcceleratorState._reset_state(True)
    GradientState._reset_state()
    capsys.readouterr()
    assert run_prediction(load(PredictOptions, [*map(str, arguments), "--workers", "0"])) == 0
    return capsys.readouterr().out


def table(capsys, *arguments):
    return list(csv.DictReader(io.StringIO(predict(capsys, *arguments))))


def refusal(*arguments):
    AcceleratorState._reset_state(True)
    with pytest.raises(UserError) as caught:
        run_prediction(load(PredictOptions, [*map(str, arguments), "--workers", "0"]))
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


@pytest.fixture
def without_plots(monkeypatch):
    """Evaluations that draw nothing, which takes longer than they do."""
    monkeypatch.setattr("sosr_timm.validation.reports.reliability_plot", lambda *arguments: None)


@pytest.fixture(scope="module")
def model(run):
    options = TrainedModelOptions(model=str(run.path))
    return load_trained_model(options, find_trained_run(options))


@torch.no_grad()
def expected(model, path, temperature=1.0):
    """The probabilities of one image, step by step."""
    image = evaluation_transform(model.image_format)(Image.open(path).convert("RGB"))
    return (model.module(image[None]).double() / temperature).softmax(dim=1)[0]


def test_probabilities_are_those_of_the_model_on_each_image(run, model, images, capsys):
    paths = [images / "val/dog/3.png", images / "train/cat/0.png"]
    rows = table(capsys, "--model", run.path, *paths, "--topk", "2")
    assert list(rows[0]) == ["path", "class1", "index1", "probability1", "class2", "index2", "probability2", "error"]
    assert [row["path"] for row in rows] == [str(path) for path in paths]
    for row, path in zip(rows, paths, strict=True):
        values, classes = expected(model, path).topk(2)
        assert [int(row["index1"]), int(row["index2"])] == classes.tolist()
        assert [row["class1"], row["class2"]] == [("cat", "dog", "emu")[number] for number in classes]
        assert float(row["probability1"]) == pytest.approx(values[0].item(), rel=1e-4)
        assert row["error"] == ""


def test_the_predictions_are_those_of_an_evaluation(run, images, tmp_path, capsys, without_plots):
    validate(capsys, run.path, "--predictions", tmp_path / "labelled.npz")
    with np.load(tmp_path / "labelled.npz") as stored:
        names, guesses, probabilities = stored["name"], stored["guesses"], stored["probabilities"]
    record = json.loads(
        predict(capsys, "--model", run.path, images / "val", "--format", "json", "--topk", "0", "-b", "8")
    )
    assert [image["path"] for image in record["images"]] == names.tolist()
    for image, classes, values in zip(record["images"], guesses, probabilities, strict=True):
        assert [found["index"] for found in image["classes"]] == classes.tolist()
        assert [found["probability"] for found in image["classes"]] == values.tolist(), "to the last digit"
    assert record["temperature"] == 1.0 and record["image_format"]["crop_pct"] == 0.8


def test_images_directories_archives_and_lists_in_their_order_each_once(images, tmp_path, monkeypatch):
    with zipfile.ZipFile(tmp_path / "more.zip", "w") as archive:
        archive.write(images / "val/emu/0.png", "any/emu.png")
        archive.writestr("any/notes.txt", "no image")
    (tmp_path / "list.txt").write_text(f"{images}/val/cat/2.png\n\n  more.png  \n")
    monkeypatch.setattr("sys.stdin", io.StringIO("from/stdin.png\n"))
    single = str(images / "val/cat/10.png")
    found = find_images([single, str(images / "val/cat"), str(tmp_path / "more.zip"), str(tmp_path / "list.txt"), "-"])
    names = [found.name(index) for index in range(len(found))]
    directory = [str(images / f"val/cat/{number}.png") for number in range(12) if number != 10]
    rest = [f"{tmp_path}/more.zip/any/emu.png", f"{tmp_path}/more.png", "from/stdin.png"]
    assert names == [single, *directory, *rest]
    assert np.array_equal(found.load(12)[0], Image.open(images / "val/emu/0.png"))


def test_hidden_files_and_other_endings_do_not_count(images, tmp_path):
    shutil.copytree(images / "val/cat", tmp_path / "cat")
    (tmp_path / "cat" / ".hidden").mkdir()
    shutil.copy(images / "val/cat/0.png", tmp_path / "cat" / ".hidden" / "0.png")
    shutil.copy(images / "val/cat/0.png", tmp_path / "cat" / "._0.png")
    (tmp_path / "cat" / "notes.txt").write_text("none")
    Image.open(images / "val/cat/0.png").save(tmp_path / "cat" / "more.bmp")
    assert len(find_images([str(tmp_path)])) == 12
    assert len(find_images([str(tmp_path)], ".bmp")) == 1


def test_an_unreadable_image_is_named_and_the_others_are_predicted(run, images, tmp_path, capsys):
    (tmp_path / "broken.png").write_bytes(b"no image")
    (tmp_path / "list.txt").write_text(f"{images}/val/cat/0.png\nbroken.png\nmissing.png\n{images}/val/cat/1.png\n")
    output = tmp_path / "found" / "predictions.csv"
    assert predict(capsys, "--model", run.path, tmp_path / "list.txt", "--output", output) == ""
    rows = list(csv.DictReader(output.open()))
    assert "cannot identify image file" in rows[1]["error"] and "No such file" in rows[2]["error"]
    assert rows[1]["class1"] == rows[1]["probability1"] == "" and rows[0]["error"] == rows[3]["error"] == ""
    alone = table(capsys, "--model", run.path, images / "val/cat/1.png")
    assert rows[3]["index1"] == alone[0]["index1"]
    record = json.loads(predict(capsys, "--model", run.path, tmp_path / "list.txt", "--format", "json"))
    assert "classes" not in record["images"][1] and "cannot identify" in record["images"][1]["error"]


def test_nothing_is_written_where_no_image_can_be_read(run, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"no image")
    said = refusal("--model", run.path, tmp_path / "broken.png", "--output", tmp_path / "out.csv")
    assert said.startswith(f"none of 1 images can be read, the first is {tmp_path}/broken.png (cannot identify")
    assert not (tmp_path / "out.csv").exists()


def test_the_log_and_progress_go_to_standard_error(run, images, tmp_path, capsys):
    AcceleratorState._reset_state(True)
    arguments = ["--model", str(run.path), str(images / "val"), "--output", str(tmp_path / "a.json"), "--log-freq", "1"]
    assert run_prediction(load(PredictOptions, [*arguments, "-b", "12", "--workers", "0"])) == 0
    said = capsys.readouterr()
    assert said.out == "" and f"written to {tmp_path / 'a.json'}" in said.err and "batch 2/3" in said.err


def test_the_same_for_any_number_of_processes(run, model, images, monkeypatch, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"no image")
    found = find_images([str(images / "val"), str(tmp_path)])
    AcceleratorState._reset_state(True)
    processes = start_processes()
    execution = ExecutionOptions(batch_size=5, workers=0)
    alone = predict_images(model, found, execution, processes, 3)
    assert list(alone.unreadable) == [36]

    class Share:
        """One of three processes; its sums are those of all three."""

        count, device, accelerator, is_main = 3, processes.device, processes.accelerator, True

        def __init__(self, rank):
            self.rank = rank

        def maximum(self, values):
            return values

        def sum(self, tensor):
            parts.append(tensor)
            return sum(parts) if self.rank == 2 else tensor

    parts: list[torch.Tensor] = []
    monkeypatch.setattr("sosr_timm.inference.predict._check_finite", lambda *arguments: None)
    together = [predict_images(model, found, execution, Share(rank), 3) for rank in range(3)][2]
    assert np.array_equal(together.classes, alone.classes)
    assert np.array_equal(together.probabilities, alone.probabilities, equal_nan=True)
    assert together.unreadable == alone.unreadable


def test_the_last_checkpoint_a_checkpoint_and_the_ema_weights(run, images, capsys):
    path = images / "val/dog/0.png"

    def found(*arguments):
        return json.loads(predict(capsys, *arguments, path, "--format", "json"))

    last = found("--model", run.path, "--which", "last")
    assert found("--model", (run.checkpoints / "last").resolve()) == last
    ema = found("--model", run.path, "--use-ema", "--which", "last")
    assert ema["model"] == last["model"] and ema["images"] != last["images"]


def test_models_by_name_in_timms_format_and_from_a_file(run, model, images, tmp_path, capsys):
    path = images / "val/dog/0.png"
    best = (run.checkpoints / "best").resolve()
    network = model.module
    fed = {"mean": model.image_format.mean, "std": model.image_format.std, "input_size": (3, 16, 16), "crop_pct": 0.8}
    network.pretrained_cfg = {**network.pretrained_cfg, **fed, "interpolation": model.image_format.interpolation}
    save_for_hf(
        network, str(tmp_path / "hub"), model_config={"label_names": ["cat", "dog", "emu"]}, safe_serialization=True
    )
    (expected_row,) = table(capsys, "--model", run.path, path)
    for name in (f"local-dir:{tmp_path / 'hub'}", tmp_path / "hub"):
        assert table(capsys, "--model", name, path) == [expected_row]
    (tmp_path / "names.txt").write_text("cat\ndog\nemu\n")
    file = ("--model", "cifar_resnet20", "--checkpoint", best / "model.safetensors", "--num-classes", "3")
    form = ("--img-size", "16", "--crop-pct", "0.8", "--class-map", tmp_path / "names.txt")
    assert table(capsys, *file, *form, path) == [expected_row]
    assert load_file(str(best / "model.safetensors")).keys() == network.state_dict().keys()


def test_a_published_model_of_grey_images_knows_its_channels_and_classes(images, capsys):
    rows = table(capsys, "--model", "cifar_resnet20.sosr_fashion_mnist", images / "val/dog/0.png", "--topk", "1")
    assert rows[0]["class1"] in (
        "Bag",
        "T-shirt/top",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Trouser",
    )


def test_imagenets_classes_are_named_in_words():
    options = TrainedModelOptions(model="test_resnet.r160_in1k")
    from sosr_timm.inference.trained_model import _class_names

    assert _class_names(options, ["n01440764", "n01443537"], 2) == ("tench, Tinca tinca", "goldfish, Carassius auratus")
    assert _class_names(options, ["n01440764", "mine"], 3) == ("n01440764", "mine", "2")


def test_a_temperature_by_number_by_file_and_as_it_was_fitted(run, model, images, tmp_path, capsys, without_plots):
    path = images / "val/dog/0.png"
    folder = tmp_path / "run"
    shutil.copytree(run.path, folder, symlinks=True)
    (folder / "evaluation.json").unlink(missing_ok=True)
    assert "evaluation.json does not exist; fit one with: validate.py" in refusal(
        "--model", folder, path, "--temperature", "fitted"
    )
    record = validate(capsys, folder, "--temperature", "0.5")
    fitted = next(iter(record["weights"].values()))["temperature"]["temperature"]
    for text in ("fitted", repr(fitted), folder / "evaluation.json"):
        (row,) = table(capsys, "--model", folder, path, "--temperature", text)
        assert float(row["probability1"]) == pytest.approx(expected(model, path, fitted).max().item(), rel=1e-4)
    if run.checkpoints.joinpath("last").resolve().name != run.checkpoints.joinpath("best").resolve().name:
        assert " is about epoch" in refusal("--model", folder, path, "--temperature", "fitted", "--which", "last")
    ema = record["weights"].pop("ema")
    (folder / "evaluation.json").write_text(json.dumps(record))
    said = refusal("--model", folder, path, "--temperature", "fitted", "--use-ema")
    assert "holds no temperature of these weights" in said
    (folder / "evaluation.json").write_text(json.dumps({**record, "weights": {"average of weights": ema}}))
    predict(capsys, "--model", folder, path, "--temperature", "fitted", "--use-ema")
    for metrics in record["weights"].values():
        del metrics["temperature"]
    (folder / "evaluation.json").write_text(json.dumps(record))
    assert "holds no temperature" in refusal("--model", folder, path, "--temperature", "fitted")
    (tmp_path / "other.json").write_text("[]")
    assert "is not an evaluation.json" in refusal("--model", folder, path, "--temperature", tmp_path / "other.json")
    for text in ("0", "-1", "nan", "inf"):
        assert refusal("--model", folder, path, f"--temperature={text}") == f"--temperature {text}: a number above 0"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--model", "{run}"], "predict what? Name images, directories, archives"),
        (["{image}"], "which model? Name a run folder, a checkpoint or a timm model with --model"),
        (["--model", "{run}", "nowhere.png"], "nowhere.png does not exist"),
        (["--model", "{run}", "{run}/checkpoints"], "{run}/checkpoints holds no image (.png, .jpg, .jpeg)"),
        (["--model", "{run}", "{image}", "--output", "a.txt"], "--output a.txt: call it .csv or .json"),
        (["--model", "{run}/", "{image}", "--checkpoint", "x"], "--checkpoint is for a timm model"),
        (["--model", "{image}", "{image}"], "--model {image} is a file: give the model's name"),
        (["--model", "{images}", "{image}"], "--model {images}: neither a run folder nor a checkpoint"),
        (["--model", "resnet8", "{image}"], "unknown model 'resnet8'"),
        (["--model", "resnet18", "--checkpoint", "x.pth", "{image}"], "--checkpoint x.pth: give the number of its"),
        (["--model", "resnet18", "--num-classes", "3", "{image}"], "--num-classes is for --checkpoint"),
        (
            ["--model", "{run}", "{image}", "--class-map", "{list}"],
            "--class-map {list} names 1 classes, the model has 3",
        ),
        (["--model", "{run}", "{table}"], "{table}: a list of images is a text file (.txt) with a path a line"),
        (["--model", "{run}", "{empty}"], "no images: name images"),
    ],
)
def test_mistakes_are_one_line(run, images, tmp_path, arguments, said):
    (tmp_path / "list.txt").write_text("cat\n")
    (tmp_path / "table.csv").write_text("path\n")
    (tmp_path / "empty.txt").write_text("\n")
    words = {"run": run.path, "images": images, "image": images / "val/dog/0.png"}
    words |= {"list": tmp_path / "list.txt", "table": tmp_path / "table.csv", "empty": tmp_path / "empty.txt"}
    assert said.format(**words) in refusal(*(word.format(**words) for word in arguments))


def test_bare_words_may_stand_before_and_after_flags(images):
    options = load(PredictOptions, ["a.png", "--topk", "2", "b.png", "--model", "m", "c.png"]).options
    assert options.prediction.paths == ("a.png", "b.png", "c.png")
    with pytest.raises(UserError, match=r"unknown option '--topp': did you mean '--topk'"):
        load(PredictOptions, ["a.png", "--topp", "2"])


def test_a_reader_that_stops_reading_is_no_fault(run, images, monkeypatch, capfd):
    class Closed(io.StringIO):
        def write(self, text):
            raise BrokenPipeError

        def fileno(self):
            return sys.__stdout__.fileno()

    from sosr_timm.inference import prediction_files

    moved = []
    monkeypatch.setattr(prediction_files.os, "dup2", lambda new, old: moved.append(old))
    monkeypatch.setattr("sys.stdout", Closed())
    AcceleratorState._reset_state(True)
    arguments = ["--model", str(run.path), str(images / "val/cat/0.png"), "--workers", "0"]
    assert run_prediction(load(PredictOptions, arguments)) == 0
    assert len(moved) == 1


def test_many_labels_have_a_sigmoid_each(tmp_path, capsys):
    with many_labels.registered():
        arguments = ("--task", "multilabel", "--dataset", "digit_attributes", "--output", tmp_path / "runs")
        assert train_here(*SMALL, *arguments) == 0
        picture(0, (8, 8), "L").save(tmp_path / "0.png")
        run = only_run(tmp_path / "runs").path
        record = json.loads(predict(capsys, "--model", run, tmp_path / "0.png", "--format", "json"))
    options = TrainedModelOptions(model=str(run))
    model = load_trained_model(options, find_trained_run(options))
    with torch.no_grad():
        logits = model.module(evaluation_transform(model.image_format)(Image.open(tmp_path / "0.png"))[None]).double()[
            0
        ]
    assert record["probabilities"] == "sigmoid" and len(record["images"][0]["classes"]) == 4
    for found in record["images"][0]["classes"]:
        assert found["probability"] == pytest.approx(logits[found["index"]].sigmoid().item(), rel=1e-5)
        assert found["class"] == ("even", "loop", "large", "prime")[found["index"]]
    assert "--temperature is for one class per image" in refusal(
        "--model", run, tmp_path / "0.png", "--temperature", "2"
    )


@pytest.mark.slow
def test_two_real_processes_give_the_output_of_one(run, images, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"no image")
    outputs = []
    for count in (1, 2):
        output = tmp_path / f"{count}.json"
        command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", str(count)]
        command += ["--master_port", str(free_port()), "-m", "sosr_timm.predict", "--model", str(run.path)]
        command += [
            str(images / "val"),
            str(tmp_path / "broken.png"),
            "--output",
            str(output),
            "-b",
            "5",
            "--workers",
            "0",
        ]
        environment = {**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        outputs.append(output.read_text())
    assert outputs[0] == outputs[1] and json.loads(outputs[0])["images"][-1]["error"]
