"""docs/models.md lists every model of ours with its size."""

import re
from pathlib import Path

import timm
from timm.models import model_entrypoint

import sosr_timm.models  # noqa: F401

PAGE = Path(__file__).resolve().parents[2] / "docs" / "models.md"
ROW = re.compile(r"^\| `(\w+)` \| ([\d,]+) \| [^|]+ \| [^|]* \| [^|]+ \|$", re.MULTILINE)


def test_every_model_and_its_parameters():
    listed = {name: int(count.replace(",", "")) for name, count in ROW.findall(PAGE.read_text())}
    ours = [name for name in timm.list_models() if model_entrypoint(name).__module__.startswith("sosr_timm.models.")]
    models = {
        name: timm.create_model(name, num_classes=1000 if name.startswith("sosr_") else 100, device="meta")
        for name in ours
    }
    assert listed == {name: sum(p.numel() for p in model.parameters()) for name, model in models.items()}


def test_recipes_are_where_the_page_says():
    recipes = {path.stem for path in (PAGE.parents[1] / "hparams").glob("*/*.yaml")}
    for name in ROW.findall(PAGE.read_text()):
        assert any(recipe.startswith(name[0]) for recipe in recipes) or name[0] == "cifar_resnet20", name[0]
