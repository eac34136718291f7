"""--config takes a path or a recipe's name, from any directory."""

import pytest

from sosr_timm.errors import UserError
from sosr_timm.options.load import load
from sosr_timm.options.recipes import find_config, recipe_names, recipes_folder
from sosr_timm.options.train import TrainOptions


@pytest.mark.parametrize("name", ["digits", "cifar100/cifar_resnet56", "hparams/digits.yaml", "digits.yaml"])
def test_a_recipe_is_found_by_name_from_any_directory(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = find_config(name)
    assert path.is_file() and path.stem == name.rpartition("/")[2].removesuffix(".yaml")


def test_a_file_of_the_current_directory_wins_over_a_recipe(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "digits").write_text("epochs: 3\n")
    assert load(TrainOptions, ["--config", "digits"]).options.schedule.epochs == 3


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("digit", r"--config digit: no such file or recipe; did you mean 'digits'\?"),
        ("cifar_resnet56", r"Did you mean cifar100/cifar_resnet56 or tiny_imagenet/cifar_resnet56\?"),
        ("zzz", "no such file or recipe; known: aircraft/"),
    ],
)
def test_an_unknown_name_lists_near_ones(name, line):
    with pytest.raises(UserError, match=line):
        find_config(name)


def test_launch_files_are_no_recipes():
    names = recipe_names()
    assert "digits" in names and len(names) >= 40
    assert not [name for name in names if name.startswith(("accelerate/", "slurm/"))]
    assert all((recipes_folder() / f"{name}.yaml").is_file() for name in names)
