"""Imports go down the ladder only, and losses, models, metrics and data know neither Accelerate nor the options."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "sosr_timm"
LADDER = [
    {"version", "errors", "registry", "text", "environment", "published"},
    {"files"},
    {"results"},
    {"kernels", "extras"},
    {"losses", "models", "metrics"},
    {"options", "distributed", "data"},
    {"checkpoints", "integrations"},
    {"setup", "tracking"},
    {"training"},
    {"validation"},
    {"inference"},
    {"hub", "detection", "analysis"},
    {"runner"},
    {"page"},
    {"comparison"},
    {"train", "validate", "predict", "export", "compare", "__main__"},
]
# Take plain values, so that they work in anyone's script.
LIBRARY = {"kernels", "losses", "models", "metrics", "data", "integrations"}
LEVEL = {name: level for level, names in enumerate(LADDER) for name in names}
FILES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def imported_modules(path: Path) -> set[str]:
    tree = ast.parse(path.read_text())
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import in line {node.lineno}"
            names.add(node.module)
            if node.module == "sosr_timm":
                names.update(f"sosr_timm.{alias.name}" for alias in node.names)
    return names


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_down_the_ladder(path):
    package = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    assert package in LEVEL, f"{package} has no place in the ladder"
    for name in imported_modules(path):
        parts = name.split(".")
        if parts[0] == "accelerate":
            assert package not in LIBRARY, f"{path}: {package} imports accelerate"
        if parts[0] != "sosr_timm" or len(parts) == 1:
            continue
        other = parts[1]
        if other == package:
            continue
        assert LEVEL[other] < LEVEL[package], f"{path}: {package} imports {other}, which is not below it"
        if other == "options":
            assert package not in LIBRARY, f"{path}: {package} imports the options"
