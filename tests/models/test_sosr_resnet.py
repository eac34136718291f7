"""The Hub entries are torchvision's networks, and say what to do where their weights are missing."""

import json
import os
import subprocess
import sys
from pathlib import Path
from unittest import mock

import pytest
import safetensors.torch
import timm
import torch
import torchvision
from huggingface_hub import errors

from sosr_timm.models import HUB_ORGANISATION, WeightsNotFoundError

NAMES = ("sosr_resnet18", "sosr_resnet50")


@pytest.mark.parametrize("name", NAMES)
def test_torchvisions_weights_fit_and_give_the_same_logits(name):
    torch.manual_seed(0)
    theirs = getattr(torchvision.models, name.removeprefix("sosr_"))(weights=None).eval()
    ours = timm.create_model(name).eval()
    ours.load_state_dict(theirs.state_dict())
    image = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(ours(image), theirs(image))


@pytest.mark.parametrize("name", NAMES)
def test_residual_branches_start_alive_unless_asked(name):
    last = "bn2" if name == "sosr_resnet18" else "bn3"
    assert (getattr(timm.create_model(name).layer1[0], last).weight == 1).all()
    assert (getattr(timm.create_model(name, zero_init_last=True).layer1[0], last).weight == 0).all()


@pytest.mark.parametrize("name", NAMES)
def test_what_the_weights_are(name):
    assert f"{name}.in1k" in timm.list_models("sosr_*", pretrained=True)
    cfg = timm.get_pretrained_cfg(name)
    assert (cfg.tag, cfg.hf_hub_id) == ("in1k", f"{HUB_ORGANISATION}/{name}.in1k")
    config = timm.data.resolve_data_config(pretrained_cfg=cfg.to_dict())
    assert config["input_size"] == (3, 224, 224)
    assert (config["crop_pct"], config["interpolation"]) == (0.875, "bilinear")  # 224 of 256
    assert config["mean"] == (0.485, 0.456, 0.406)
    assert config["std"] == (0.229, 0.224, 0.225)


def missing(kind):
    if issubclass(kind, errors.HfHubHTTPError) and kind is not errors.LocalEntryNotFoundError:
        return kind("not there", response=mock.MagicMock())
    return kind("not there")


def loading_fails_with(monkeypatch, error):
    monkeypatch.setattr("timm.models._builder.load_state_dict_from_hf", mock.Mock(side_effect=error))


@pytest.mark.parametrize("name", [*NAMES, "sosr_resnet50.in1k"])
@pytest.mark.parametrize(
    "kind",
    [
        errors.RepositoryNotFoundError,
        errors.EntryNotFoundError,
        errors.LocalEntryNotFoundError,
        errors.OfflineModeIsEnabled,
    ],
)
def test_missing_weights_say_how_to_make_them(monkeypatch, name, kind):
    loading_fails_with(monkeypatch, missing(kind))
    with pytest.raises(WeightsNotFoundError) as caught:
        timm.create_model(name, pretrained=True, device="meta")
    assert isinstance(caught.value, RuntimeError)
    variant = name.removesuffix(".in1k")
    for part in (
        f"accelerate launch train.py --config hparams/imagenet/{variant}.yaml --loss sosr\n",
        f"sosr-hub publish RUN_FOLDER --repo-id {HUB_ORGANISATION}/{variant}.in1k\n",
        "pretrained_cfg_overlay=dict(file=...)",
    ):
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "overlay"),
    [
        (errors.GatedRepoError, {}),
        (errors.RevisionNotFoundError, {}),
        (ConnectionError, {}),
        (errors.RepositoryNotFoundError, {"hf_hub_id": "somebody/else"}),
    ],
)
def test_other_failures_stay_what_they_are(monkeypatch, kind, overlay):
    loading_fails_with(monkeypatch, missing(kind))
    with pytest.raises(kind):
        timm.create_model("sosr_resnet18", pretrained=True, device="meta", pretrained_cfg_overlay=overlay)


def test_a_file_that_is_not_there_is_named(tmp_path):
    overlay = {"file": str(tmp_path / "absent.safetensors")}
    with pytest.raises(FileNotFoundError):
        timm.create_model("sosr_resnet18", pretrained=True, pretrained_cfg_overlay=overlay)


OFFLINE = """
import json, sys, timm, sosr_timm.models as models
try:
    timm.create_model("sosr_resnet18", pretrained=True, cache_dir=sys.argv[1] + "/empty")
except models.WeightsNotFoundError as error:
    refused = str(error)
model = timm.create_model("sosr_resnet18", pretrained=True, cache_dir=sys.argv[1])
print(json.dumps([refused, model.fc.bias[:3].tolist()]))
"""


def test_offline_for_real_and_then_published(tmp_path):
    """Without connection: our message while the weights are nowhere, the weights once the Hub's cache has them."""
    state = timm.create_model("sosr_resnet18").state_dict()
    state["fc.bias"] = torch.arange(1000.0)
    repository = tmp_path / f"models--{HUB_ORGANISATION}--sosr_resnet18.in1k"
    commit = "0" * 40
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(commit)
    (repository / "snapshots" / commit).mkdir(parents=True)
    safetensors.torch.save_file(state, repository / "snapshots" / commit / "model.safetensors")
    done = subprocess.run(
        [sys.executable, "-c", OFFLINE, str(tmp_path)],
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
        cwd=Path(__file__).resolve().parents[2],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    refused, bias = json.loads(done.stdout)
    assert "hparams/imagenet/sosr_resnet18.yaml" in refused
    assert bias == [0.0, 1.0, 2.0]
