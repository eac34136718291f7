"""A run writes safetensors, JSON, YAML and CSV; the package neither writes nor loads anything pickled."""

import ast
import re
from pathlib import Path

import pytest

from sosr_timm.options.load import load
from sosr_timm.options.validate import ValidateOptions
from sosr_timm.validation.main import run_validation
from tests.training.harness import SMALL, only_run, train_here

ROOT = Path(__file__).resolve().parents[1]
SOURCES = [*sorted((ROOT / "sosr_timm").rglob("*.py")), ROOT / "train.py", ROOT / "validate.py"]
LOCK = ".lock"  # empty; keeps a second process out of the folder
UNSAFE = {"pickle", "dill", "joblib", "shelve", "marshal", "cloudpickle"}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished run of everything that has state, evaluated."""
    output = tmp_path_factory.mktemp("output")
    arguments = ["--loss", "ols+sosr+cp", "--opt", "adamw", "--model-ema", "--checkpoint-every", "2"]
    assert train_here(*SMALL, *arguments, "--output", output) == 0
    folder = only_run(output)
    assert run_validation(load(ValidateOptions, [str(folder.path)], "")) == 0
    return folder


def test_a_run_leaves_no_pickle(run):
    files = [path for path in run.path.rglob("*") if path.is_file() and path.name != LOCK]
    assert {path.suffix for path in files} == {".safetensors", ".json", ".jsonl", ".yaml", ".csv", ".png"}
    for path in files:
        if path.suffix == ".safetensors":
            head = path.read_bytes()[:9]
            assert head[8:] == b"{", f"{path.name} does not start as safetensors do"
            assert int.from_bytes(head[:8], "little") < path.stat().st_size
        elif path.suffix == ".png":
            assert path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
        else:
            path.read_text(encoding="utf-8")


def test_the_run_folder_is_as_the_readme_says(run):
    section = (ROOT / "README.md").read_text(encoding="utf-8").split("## What a run folder holds")[1].split("\n## ")[0]
    names = {path.name for path in run.path.iterdir()} - {LOCK}
    assert set(re.findall(r"^\| `([^`]+)`", section, flags=re.MULTILINE)) == names


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_package_neither_pickles_nor_unpickles(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            assert not UNSAFE & {alias.name.split(".")[0] for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            assert (node.module or "").split(".")[0] not in UNSAFE
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            assert called not in ("torch.save", "np.save", "numpy.save"), f"line {node.lineno}"
            words = {word.arg: ast.unparse(word.value) for word in node.keywords}
            if called == "torch.load":
                assert words.get("weights_only") == "True", f"line {node.lineno}"
            assert words.get("allow_pickle", "False") == "False", f"line {node.lineno}"
