"""docs/models.md lists every model of ours with its size."""

import re
from pathlib import Path

from tests.models.test_parameters import OURS, PARAMETERS

PAGE = Path(__file__).resolve().parents[2] / "docs" / "models.md"
ROW = re.compile(r"^\| `(\w+)` \| ([\d,]+) \| [^|]+ \| [^|]* \| [^|]+ \|$", re.MULTILINE)


def test_every_model_and_its_parameters():
    listed = {name: int(count.replace(",", "")) for name, count in ROW.findall(PAGE.read_text())}
    sosr = {"sosr_resnet18": 11_689_512, "sosr_resnet50": 25_557_032}
    assert listed == {**PARAMETERS, **sosr}
    assert set(listed) == set(OURS)


def test_recipes_are_where_the_page_says():
    recipes = {path.stem for path in (PAGE.parents[1] / "hparams").glob("*/*.yaml")}
    for name, _ in ROW.findall(PAGE.read_text()):
        own = name in ("cifar_resnet8", "cifar_resnet20")  # of no paper's table
        assert own or any(recipe.startswith(name) for recipe in recipes), name
