"""README's three lines are run as they stand, MODELS.md is what there is."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from sosr_timm.hub.__main__ import VERBS
from sosr_timm.options.fields import options_of
from sosr_timm.options.hub import ConvertOptions, PublishOptions, PushOptions
from sosr_timm.options.load import load
from sosr_timm.options.validate import ValidateOptions
from sosr_timm.validation.main import run_validation
from tests.hub.harness import hub_command, reset
from tools import models_page as models

ROOT = Path(__file__).resolve().parents[2]
BLOCK = re.compile(r"<!-- hub -->\n```sh\n(.*?)```\n<!-- hub:end -->", flags=re.DOTALL)


def test_the_three_lines_of_the_readme(hub, runs, tmp_path, monkeypatch, capsys):
    (block,) = BLOCK.findall((ROOT / "README.md").read_text(encoding="utf-8"))
    publish, loading, validate = (shlex.split(line) for line in block.replace("ORGANISATION", "me").splitlines())
    monkeypatch.chdir(tmp_path)
    shutil.copytree(runs / "ours", tmp_path / publish[2], symlinks=True)

    assert publish[0] == "sosr-hub"
    assert hub_command(*publish[1:]) == 0
    assert list(hub.repositories) == ["me/cifar_resnet20.digits"]

    assert loading[0] == "python"
    environment = {**os.environ, "HF_ENDPOINT": hub.endpoint, "HF_HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    environment["HF_HUB_DISABLE_XET"] = "1"
    done = subprocess.run([sys.executable, *loading[1:]], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr

    assert validate[:2] == ["python", "validate.py"]
    reset()
    capsys.readouterr()
    assert run_validation(load(ValidateOptions, validate[2:])) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])["weights"]["weights"]
    reset()
    assert run_validation(load(ValidateOptions, [publish[2], "--dataset", "digits"])) == 0
    expected = json.loads(capsys.readouterr().out.splitlines()[-1])["weights"]["weights"]
    assert found["count"] == 359
    assert found["top1"] == expected["top1"]


def test_models_md_is_what_the_package_has():
    assert (ROOT / "MODELS.md").read_text(encoding="utf-8") == models.page()
    recipes = re.findall(r"--config (\S+)", models.page())
    assert recipes and all((ROOT / recipe).is_file() for recipe in recipes)


def test_docs_hub_md_knows_every_flag_and_verb():
    text = (ROOT / "docs" / "hub.md").read_text(encoding="utf-8")
    assert all(f"sosr-hub {verb} " in text for verb in VERBS)
    for groups in (PublishOptions, PushOptions, ConvertOptions):
        flags = [option.flag for option in options_of(groups).values() if not option.positional]
        assert all(flag in text for flag in flags)
