"""Every `python -m ...` says how it is used, and does nothing else, when it is asked for help."""

import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from sosr_timm.__main__ import COMMANDS
from tools.checkout import ROOT

if sys.version_info >= (3, 11):
    import tomllib

PLACES = ("sosr_timm", "tools", "experiments", "benchmarks", "tests/options")
MODULES = [
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__main__")
    for place in PLACES
    for path in sorted((ROOT / place).rglob("*.py"))
    if '\nif __name__ == "__main__":' in path.read_text(encoding="utf-8")
]


def run_module(module: str, *arguments: str, monkeypatch) -> int:
    """Run a module as `python -m` does, with everything forbidden that writes a file or starts a process."""

    def forbidden(*rest, **keywords):
        pytest.fail(f"{module} {' '.join(arguments)} did something: {rest[:1]}")

    monkeypatch.setattr(sys, "argv", [module, *arguments])
    monkeypatch.setattr(os, "replace", forbidden)
    monkeypatch.setattr(Path, "write_text", forbidden)
    monkeypatch.setattr(subprocess, "Popen", forbidden)
    with pytest.raises(SystemExit) as ended:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    return ended.value.code or 0


def test_there_are_modules_to_run():
    assert {"sosr_timm", "sosr_timm.hub", "experiments", "benchmarks", "tools.readme_page"} <= set(MODULES)


@pytest.mark.parametrize("module", MODULES)
@pytest.mark.filterwarnings("ignore:.*found in sys.modules")
def test_help_explains_and_does_nothing_else(module, monkeypatch, capsys):
    assert run_module(module, "--help", monkeypatch=monkeypatch) == 0
    assert len(capsys.readouterr().out) > 60


@pytest.mark.parametrize("module", MODULES)
@pytest.mark.filterwarnings("ignore:.*found in sys.modules")
def test_an_unknown_flag_is_refused(module, monkeypatch, capsys):
    assert run_module(module, "--no-such-flag", monkeypatch=monkeypatch) == 2
    assert "error: " in capsys.readouterr().err


@pytest.mark.filterwarnings("ignore:.*found in sys.modules")
def test_the_package_lists_its_commands(monkeypatch, capsys):
    assert run_module("sosr_timm", monkeypatch=monkeypatch) == 0
    said = capsys.readouterr().out
    for name, (module, _) in COMMANDS.items():
        assert name in said and f"python -m {module}" in said
    assert run_module("sosr_timm", "train", monkeypatch=monkeypatch) == 2
    assert "run 'sosr-train' or 'python -m sosr_timm.train'" in capsys.readouterr().err


@pytest.mark.skipif(sys.version_info < (3, 11), reason="tomllib")
def test_the_commands_are_those_that_pip_installs():
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["scripts"]
    assert {name: target.partition(":")[0].removesuffix(".__main__") for name, target in scripts.items()} == {
        name: module for name, (module, _) in COMMANDS.items()
    }


def test_a_page_is_written_once_and_checked(tmp_path, monkeypatch, capsys):
    from tools.generated import run_writer

    path = tmp_path / "page.md"
    monkeypatch.setattr(sys, "argv", ["page", "--check"])
    assert run_writer(path, lambda: "text", "A page.") == 1 and not path.exists()
    monkeypatch.setattr(sys, "argv", ["page"])
    assert run_writer(path, lambda: "text", "A page.") == 0 and path.read_text() == "text"
    monkeypatch.setattr(sys, "argv", ["page", "--check"])
    assert run_writer(path, lambda: "text", "A page.") == 0
    assert run_writer(path, lambda: "other", "A page.") == 1 and path.read_text() == "text"
