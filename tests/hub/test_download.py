"""Our Hub entries: loaded by name, and held against the Hub's hash, which the client does not do."""

import pytest
import timm
import torch

import sosr_timm.models
from sosr_timm.errors import UserError
from sosr_timm.models import HUB_ORGANISATION, DamagedWeightsError, WeightsNotFoundError
from sosr_timm.options.load import load as load_options
from sosr_timm.options.validate import ValidateOptions
from sosr_timm.setup.stored_run import find_run, models_of_run
from sosr_timm.validation.main import run_validation
from tests.hub.conftest import point_at
from tests.hub.harness import hub_command, images, reset
from tests.hub.stand_in import Fault

ENTRY = f"{HUB_ORGANISATION}/sosr_resnet18.in1k"
TINY = {"layers": (1, 1, 1, 1), "channels": (4, 8, 8, 8), "in_chans": 1, "num_classes": 10}


def published(run):
    """The folder of the run's publication, written once."""
    folder = run.path / "hub" / "sosr_resnet18.in1k"
    if not folder.is_dir():
        hub_command("publish", run.path, "--repo-id", ENTRY, "--dry-run", folder)
    return folder


def load():
    return timm.create_model("sosr_resnet18", pretrained=True, **TINY).eval()


def test_the_entry_loads_from_its_repository(hub, run):
    assert sosr_timm.models
    with pytest.raises(WeightsNotFoundError, match="publish RUN_FOLDER --repo-id"):
        load()
    hub_command("push", published(run), "--repo-id", ENTRY)
    module = models_of_run(find_run(str(run.path), "best"), only_ema=False)["weights"].eval()
    with torch.no_grad():
        assert torch.equal(load().forward_features(images()), module.forward_features(images()))


def test_a_damaged_download_is_found_and_the_next_one_loads(hub, run):
    hub_command("push", published(run), "--repo-id", ENTRY)
    hub.faults.append(Fault("GET /.*/model.safetensors", -1))
    with pytest.raises(DamagedWeightsError, match="its SHA-256 is not the Hub's"):
        load()
    assert load() is not None


def test_validate_names_a_damaged_download_in_one_line(hub, run):
    hub_command("push", published(run), "--repo-id", "me/resnet18.digits")
    hub.faults.append(Fault("GET /.*/model.safetensors", -1))
    arguments = ["--model", "hf-hub:me/resnet18.digits", "--dataset", "digits", "--num-samples", "8", "--workers", "0"]
    reset()
    with pytest.raises(UserError, match=r"'hf-hub:me/resnet18.digits': model.safetensors of me/.* was damaged"):
        run_validation(load_options(ValidateOptions, arguments))
    reset()
    assert run_validation(load_options(ValidateOptions, arguments)) == 0


def test_a_download_that_breaks_off_is_taken_up_again(hub, run):
    hub_command("push", published(run), "--repo-id", ENTRY)
    hub.faults.append(Fault("GET /.*/model.safetensors", 0))
    assert load() is not None


def test_weights_in_the_cache_load_without_a_network(hub, run, monkeypatch):
    hub_command("push", published(run), "--repo-id", ENTRY)
    load()
    point_at("http://127.0.0.1:9", monkeypatch)
    assert load() is not None
