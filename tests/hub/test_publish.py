"""A published run: what the repository holds, and who can load it."""

import json

import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import load_file

from sosr_timm.errors import UserError
from sosr_timm.options.load import load
from sosr_timm.options.validate import ValidateOptions
from sosr_timm.setup.stored_run import find_run, models_of_run
from sosr_timm.validation.main import run_validation
from tests.hub.harness import hub_command, images, reset, stranger_loads
from tests.training.harness import only_run, train_here

REPOSITORY = "somebody/sosr_resnet18.digits"
FILES = {
    *("README.md", "config.json", "curves.png", "evaluation.json", "model.safetensors"),
    *("recipe.yaml", "result.json", "summary.csv"),
}


def logits_of(module):
    with torch.no_grad():
        return module.eval()(images())


def test_a_stranger_with_timm_gets_the_same_logits_from_the_hub_and_from_the_folder(hub, run, tmp_path):
    assert hub_command("publish", run.path, "--repo-id", REPOSITORY) == 0
    assert set(hub.repositories[REPOSITORY]) >= FILES
    assert not [name for name in hub.repositories[REPOSITORY] if name.endswith((".bin", ".pth", ".pt"))]
    written = run.path / "hub" / "sosr_resnet18.digits"
    names = (f"hf-hub:{REPOSITORY}", f"local-dir:{written}")
    found = stranger_loads(*names, folder=tmp_path, endpoint=hub.endpoint)
    module = models_of_run(find_run(str(run.path), "best"), only_ema=False)["weights"]
    for number in range(2):
        assert torch.equal(found[f"logits {number}"], logits_of(module))
        assert torch.equal(found[f"features {number}"], module.forward_features(images()))
        assert found[f"head {number}"].shape == (2, 3)


def test_config_json_says_what_timm_must_know(run, tmp_path):
    hub_command("publish", run.path, "--repo-id", REPOSITORY, "--dry-run", tmp_path / "dry")
    config = json.loads((tmp_path / "dry" / "config.json").read_text())
    assert (config["architecture"], config["num_classes"], config["num_features"]) == ("resnet18", 10, 8)
    assert config["label_names"] == [str(digit) for digit in range(10)]
    assert config["model_args"]["channels"] == [4, 8, 8, 8]
    stored = config["pretrained_cfg"]
    assert stored["tag"] == "digits"
    assert (stored["mean"], stored["std"], stored["input_size"]) == ([0.3059], [0.3763], [1, 8, 8])
    assert (stored["crop_pct"], stored["interpolation"], stored["license"]) == (1.0, "bilinear", "apache-2.0")
    assert not {"test_input_size", "hf_hub_id", "url", "file"} & stored.keys()


def test_a_dry_run_asks_the_hub_nothing_and_needs_no_token(hub, run, tmp_path, monkeypatch):
    monkeypatch.delenv("HF_TOKEN")
    hub_command("publish", run.path, "--repo-id", REPOSITORY, "--dry-run", tmp_path / "dry")
    assert hub.requests == []
    assert {path.name for path in (tmp_path / "dry").iterdir()} >= FILES


@pytest.mark.parametrize(("flag", "file"), [("--ema", "ema.safetensors"), ("--which=last", "model.safetensors")])
def test_the_weights_asked_for_are_the_ones_published(run, tmp_path, flag, file):
    hub_command("publish", run.path, "--repo-id", REPOSITORY, flag, "--dry-run", tmp_path / "dry")
    checkpoint = (run.checkpoints / ("last" if "last" in flag else "best")).resolve()
    expected, found = load_file(checkpoint / file), load_file(tmp_path / "dry" / "model.safetensors")
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    said = "These are the EMA weights" if flag == "--ema" else "These are the weights"
    assert said in (tmp_path / "dry" / "README.md").read_text()


def test_a_network_of_ours_is_published_under_its_own_name(runs, tmp_path):
    hub_command("publish", runs / "ours", "--repo-id", "somebody/cifar_resnet20.digits", "--dry-run", tmp_path / "dry")
    assert json.loads((tmp_path / "dry" / "config.json").read_text())["architecture"] == "cifar_resnet20"
    assert "import sosr_timm" in (tmp_path / "dry" / "README.md").read_text()
    model = timm.create_model(f"local-dir:{tmp_path / 'dry'}", pretrained=True)
    module = models_of_run(find_run(str(runs / "ours"), "best"), only_ema=False)["weights"]
    assert torch.equal(logits_of(model), logits_of(module))


def validate(capsys, *arguments):
    reset()
    capsys.readouterr()
    run_validation(load(ValidateOptions, [str(argument) for argument in arguments]))
    return json.loads(capsys.readouterr().out.splitlines()[-1])


def test_validate_finds_the_published_figures_again(hub, run, capsys):
    hub_command("publish", run.path, "--repo-id", REPOSITORY)
    small = ("--dataset", "digits", "--num-samples", "40", "--batch-size", "16", "--workers", "0")
    found = validate(capsys, "--model", f"hf-hub:{REPOSITORY}", *small)["weights"]["weights"]
    assert found == json.loads(hub.repositories[REPOSITORY]["evaluation.json"])["weights"]["weights"]
    with pytest.raises(UserError, match="somebody/else"):
        validate(capsys, "--model", "hf-hub:somebody/else", *small)


def test_training_goes_on_from_the_hub_with_another_head(hub, run, tmp_path):
    hub_command("publish", run.path, "--repo-id", REPOSITORY)
    for split in ("train", "validation"):
        for name in "ab":
            (tmp_path / "data" / split / name).mkdir(parents=True)
            for number in range(4):
                Image.new("L", (8, 8), 60 * number).save(tmp_path / "data" / split / name / f"{number}.png")
    flags = ("--batch-size", "4", "--epochs", "1", "--lr", "1e-12", "--warmup-epochs", "0", "--workers", "0")
    flags += ("--weight-decay", "0", "--loss", "sosr", "--output", tmp_path / "out", "--in-chans", "1")
    assert train_here(tmp_path / "data", "--model", f"hf-hub:{REPOSITORY}", "--pretrained", *flags) == 0
    tuned = only_run(tmp_path / "out")
    weights = load_file((tuned.checkpoints / "last").resolve() / "model.safetensors")
    published = load_file(run.path / "hub" / "sosr_resnet18.digits" / "model.safetensors")
    torch.testing.assert_close(weights["conv1.weight"], published["conv1.weight"])
    assert weights["fc.weight"].shape == (2, 8)
    hub_command("publish", tuned.path, "--repo-id", "somebody/tuned.ab", "--dry-run", tmp_path / "dry")
    assert json.loads((tmp_path / "dry" / "config.json").read_text())["architecture"] == "resnet18"
    assert f"base_model: {REPOSITORY}" in (tmp_path / "dry" / "README.md").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "publish: name the run folder"),
        (["{run}"], "--repo-id ''"),
        (["{run}", "--repo-id", "alone"], "--repo-id 'alone': expected ORGANISATION/NAME.TAG"),
        (["{run}", "--repo-id", "a/b c"], "--repo-id 'a/b c'"),
        (["nowhere", "--repo-id", "a/b"], "nowhere is not a run folder"),
        (["{run}", "--repo-id", "a/b", "--dry-run", "{full}"], "full is not empty"),
        (["{run}", "--repo-id", "a/b", "--dry-run", "{full}/file/x"], "cannot be written"),
        (["{run}", "--repo-idd", "a/b"], "unknown option '--repo-idd': did you mean '--repo-id'"),
    ],
)
def test_bad_input_is_one_line(run, tmp_path, arguments, message):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("mine")
    words = [word.format(run=run.path, full=tmp_path / "full") for word in arguments]
    with pytest.raises(UserError, match=message.replace("(", "\\(")):
        hub_command("publish", *words)
    assert (tmp_path / "full" / "file").read_text() == "mine"
    assert not list(tmp_path.glob(".*"))


def test_an_unfinished_run_is_refused(run, tmp_path):
    import shutil

    copy = tmp_path / "run"
    shutil.copytree(run.path, copy, symlinks=True)
    (copy / "result.json").unlink()
    with pytest.raises(UserError, match="has not finished"):
        hub_command("publish", copy, "--repo-id", REPOSITORY, "--dry-run", tmp_path / "dry")
    assert not (tmp_path / "dry").exists()
