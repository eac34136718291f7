"""The command in every recipe's header plans a run and makes two updates, on data laid out like the official one."""

import functools
import re
import shlex

import pytest

from sosr_timm.data.prepare.preparations import PREPARATIONS
from sosr_timm.data.prepare.run import prepare
from sosr_timm.training.dry_run import UPDATES
from tests.data.archives import SMALL, small
from tests.data.debian_root import debian_root
from tests.test_recipes import RECIPES, commands_of, key_of, options_of_recipe
from tests.training.harness import train_here

# What a CPU can do of the largest: two images a batch, float32. The small data sets have other numbers of classes,
# which the network takes from them.
ON_A_CPU = ("--batch-size", "2", "--validation-batch-size", "2", "--workers", "0", "--no-amp", "--no-pretrained")


@pytest.fixture(scope="module")
def folder_of(tmp_path_factory):
    """A data set's name to a folder made of small archives by its own preparation."""

    @functools.cache
    def made(name: str) -> str:
        folder = tmp_path_factory.mktemp(name)
        if name == "glyphs":
            prepare(PREPARATIONS[name], debian_root(folder / "debian"), folder / "made", allow_subset=True)
            return str(folder / "made")
        each = 20 if name == "cifar10" else 1  # a long tail of 0.01 wants 100 images of a class
        prepare(small(name, folder / "archives", each), folder / "archives", folder / "made")
        return str(folder / "made")

    return made


@pytest.mark.parametrize("path", RECIPES, ids=key_of)
def test_a_recipe_plans_its_run_and_makes_two_updates(path, folder_of, tmp_path, capsys):
    options = options_of_recipe(path)
    words = shlex.split(commands_of(path)[0])
    dataset = options.data.dataset or "imagenet"
    if dataset in SMALL or dataset == "glyphs":
        words = [*words, "--data-dir", folder_of(dataset)]
    output = tmp_path / "runs"
    assert train_here(*words, *ON_A_CPU, "--dry-run", "--output", output) == 0
    text = capsys.readouterr().out
    (losses,) = re.findall(r"^ +loss +([\d.]+(?:, [\d.]+)*) *$", text, re.MULTILINE)
    updates = 1 if dataset == "flowers102" else UPDATES  # its archive has two images for training
    assert len(losses.split(", ")) == updates and f" {options.model.model}, " in text
    assert not output.exists()
