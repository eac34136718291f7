"""README.md: its commands stand there as promised, its snippets run, its files exist, its table is the code's."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from sosr_timm.losses import BASES, PENALTIES, create_loss
from sosr_timm.losses.keywords import keywords_of
from sosr_timm.losses.spec import is_our_term
from sosr_timm.options.load import load
from sosr_timm.options.train import TrainOptions
from sosr_timm.options.validate import ValidateOptions

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [
    "README.md",
    "CONTRIBUTING.md",
    "MODELS.md",
    *(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md"))),
]
SNIPPETS = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
COMMANDS = [line for block in re.findall(r"```sh\n(.*?)```", README, flags=re.DOTALL) for line in block.splitlines()]
LOSSES = re.findall(r"^\| `(\w+)` \((base|penalty)\) \| (.*?) \|.* \| (\w+) \| (\w+) \|$", README, flags=re.MULTILINE)


@pytest.mark.parametrize(
    "command",
    [
        'pip install -e ".[digits]" && accelerate launch train.py --config hparams/digits.yaml --loss sosr',
        'pip install -e ".[test]" && pytest -n auto',
    ],
)
def test_the_two_commands_stand_alone_in_a_line(command):
    assert COMMANDS.count(command) == 1


@pytest.mark.parametrize("command", [line for line in COMMANDS if ".py " in line])
def test_a_command_is_understood(command, monkeypatch):
    import shlex

    monkeypatch.chdir(ROOT)
    words = shlex.split(command)
    position = next(position for position, word in enumerate(words) if word.endswith(".py"))
    groups = {"train.py": TrainOptions, "validate.py": ValidateOptions}[words[position]]
    options = load(groups, words[position + 1 :], "").options
    if groups is TrainOptions:
        create_loss(options.loss.loss)


@pytest.mark.parametrize("number", range(len(SNIPPETS)))
def test_a_snippet_runs_by_itself(number):
    done = subprocess.run(
        [sys.executable, "-c", SNIPPETS[number]], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", PAGES)
def test_every_file_that_is_named_exists(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    text = text.split("## What a run folder holds")[0] + text.partition("## Documentation")[2]
    links = {str((ROOT / page).parent / link) for link in re.findall(r"\]\(([^)#:]+)\)", text)}
    named = {word for word in re.findall(r"[\w./-]+\.(?:py|yaml|md|sbatch)\b|\.ci/run", text) if "/" in word}
    missing = [name for name in links | named if not (ROOT / name).exists() and not (ROOT / "docs" / name).exists()]
    assert not missing


def test_the_table_of_losses_is_the_codes():
    assert {name for name, *_ in LOSSES} == {name for name in BASES if is_our_term(name)} | set(PENALTIES)
    for name, kind, keywords, mixing, smoothing in LOSSES:
        registry = {"base": BASES, "penalty": PENALTIES}[kind]
        actual = [f"`{key}={item.default!r}`" for key, item in keywords_of(registry[name]).items()]
        assert keywords == ", ".join(actual)
        if mixing == "yes":
            create_loss(name, soft_targets=True)
        else:
            with pytest.raises(ValueError, match="not for Mixup or CutMix"):
                create_loss(name, soft_targets=True)
        if smoothing == "yes":
            create_loss(name, smoothing=0.1)
        else:
            with pytest.raises(ValueError, match="label smoothing"):
                create_loss(name, smoothing=0.1)
