"""Every script of docs/integrations.md runs unchanged and trains."""

import importlib
import re
import runpy
import sys
from pathlib import Path

import pytest
import torch

from tests.integrations.page import PAGE, scripts

SCRIPTS = scripts()
NEEDS = {"Lightning": "lightning", "Hugging Face": "transformers", "Composer": "composer"}
TRAINED = 85  # per cent


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Runs the script below a heading in an empty directory; returns what it printed."""

    def run_script(title: str, *arguments: str) -> list[str]:
        for word, package in NEEDS.items():
            if word in title:
                pytest.importorskip(package)
        path = tmp_path / "script.py"
        path.write_text(SCRIPTS[title])
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", [str(path), *arguments])
        monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
        capsys.readouterr()
        runpy.run_path(str(path), run_name="__main__")
        return capsys.readouterr().out.splitlines()

    return run_script


def trained(lines: list[str]) -> bool:
    return float(re.search(r"(?:top-1|pixels) ([\d.]+) %", lines[-1])[1]) > TRAINED


@pytest.mark.parametrize("title", [title for title in SCRIPTS if not title.startswith("timm")])
def test_a_script_trains(run, title):
    assert trained(run(title))


def test_the_loop_by_hand_resumes(run):
    title = next(iter(SCRIPTS))
    assert len(run(title, "--epochs", "2")) == 2
    lines = run(title, "--epochs", "4", "--resume", "checkpoint.pt")
    assert [line.split(":")[0] for line in lines] == ["epoch 3", "epoch 4"] and trained(lines)


@pytest.fixture
def timm_script(tmp_path, monkeypatch):
    """timm's train.py, or its stand-in, in the directory of the script."""
    (tmp_path / "train.py").write_text(Path(__file__).with_name("timm_script.py").read_text())
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("timm.loss.LOSS_TYPES", importlib.import_module("timm.loss").LOSS_TYPES)
    monkeypatch.delitem(sys.modules, "train", raising=False)
    yield
    sys.modules.pop("train", None)


@pytest.mark.parametrize("loss", ["ols+sosr", "ols+maxsup"])
def test_timms_script_ends_its_epochs(run, timm_script, loss):
    run("timm's train.py", "--loss", loss, "--epochs", "3")
    criterion = sys.modules["train"].tasks[0].criterion
    assert criterion.full_form.startswith("ols")
    assert not criterion.base.soft_labels.allclose(torch.full((4, 4), 0.25, dtype=torch.float64))
    assert criterion.base.correct_count.sum() == 0
    if "maxsup" in loss:
        assert criterion.penalties["maxsup"].weight.item() == pytest.approx(0.2)


def test_timms_script_does_not_resume_without_the_soft_labels(run, timm_script):
    with pytest.raises(SystemExit, match="soft labels"):
        run("timm's train.py", "--loss", "ols", "--resume", "last.pth.tar")


def test_the_page_says_what_the_extras_are_called():
    for extra in ("lightning", "transformers"):
        assert f"sosr-timm[{extra}]" in PAGE.read_text()
