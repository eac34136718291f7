"""Runs to publish, and a Hub to publish them to."""

import time
from pathlib import Path

import pytest
from huggingface_hub import constants, file_download

from sosr_timm.checkpoints.run_folder import RunFolder
from tests.hub import stand_in
from tests.training.harness import SMALL, train_here

TINY = ("--model", "sosr_resnet18", "--model-kwargs", "layers=(1,1,1,1)", "channels=(4,8,8,8)")


@pytest.fixture(scope="session")
def runs(tmp_path_factory) -> Path:
    """A folder with two finished runs on the digits: `ours`, a network of this package, and `timms`."""
    output = tmp_path_factory.mktemp("runs")
    assert train_here(*SMALL, "--loss", "sosr", "--output", output, "--experiment", "ours") == 0
    ema = ("--model-ema", "--model-ema-decay", "0.5", "--channels-last")
    assert train_here(*SMALL, *TINY, "--loss", "sosr", *ema, "--output", output, "--experiment", "timms") == 0
    return output


@pytest.fixture
def run(runs) -> RunFolder:
    return RunFolder(runs / "timms")


def point_at(endpoint: str, monkeypatch) -> None:
    """Tell the client, which reads the environment once, of another Hub; it does not sleep between its attempts."""
    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    template = endpoint + "".join(constants.HUGGINGFACE_CO_URL_TEMPLATE.partition("/{repo_id}")[1:])
    for module in (constants, file_download):  # older clients have copies of the name
        monkeypatch.setattr(module, "HUGGINGFACE_CO_URL_TEMPLATE", template, raising=False)
    monkeypatch.setattr(time, "sleep", lambda seconds: None)


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """The stand-in, and the client told of it."""
    memory, server = stand_in.start()
    point_at(memory.endpoint, monkeypatch)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True, raising=False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.setenv("HF_TOKEN", stand_in.WRITER)
    yield memory
    server.shutdown()
    server.server_close()
