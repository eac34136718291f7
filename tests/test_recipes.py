"""Every recipe loads strictly, says where it comes from, and trains as its source does."""

import functools
import re
import shlex
from pathlib import Path

import pytest
import timm
import torch
import yaml

import sosr_timm  # noqa: F401  (registers the models)
from sosr_timm.data.sources.catalog import DATASETS
from sosr_timm.losses import create_loss
from sosr_timm.options.load import build, load, read_config
from sosr_timm.options.recipes import NOT_RECIPES
from sosr_timm.options.train import TrainOptions
from sosr_timm.setup.loss import loss_spec
from sosr_timm.setup.optimizer import create_optimizer
from sosr_timm.setup.schedule import create_schedule
from tests.published_recipes import PUBLISHED

ROOT = Path(__file__).resolve().parents[1]
RECIPES = sorted(path for path in (ROOT / "hparams").rglob("*.yaml") if path.parent.name not in NOT_RECIPES)
CLASSES = {
    **{"cifar10": 10, "cifar100": 100, "tiny_imagenet": 200, "imagenet": 1000},
    **{"cub200": 200, "flowers102": 102, "stanford_cars": 196, "aircraft": 100},
}


def key_of(path: Path) -> str:
    return str(path.relative_to(ROOT / "hparams").with_suffix(""))


def options_of_recipe(path: Path) -> TrainOptions:
    return build(TrainOptions, read_config(TrainOptions, path))


def header_of(path: Path) -> str:
    lines = (line for line in path.read_text().splitlines() if line.startswith("#"))
    return " ".join(" ".join(line.lstrip("#") for line in lines).split())


def commands_of(path: Path) -> list[str]:
    """What follows train.py in the commands of a recipe's header."""
    return re.findall(r"train\.py\s+(?:#\s+)?(--config [^\n]+)", path.read_text())


@pytest.mark.parametrize("path", RECIPES, ids=key_of)
def test_a_recipe_loads_and_states_command_expected_figure_and_source(path):
    options = options_of_recipe(path)
    assert timm.is_model(options.model.model)
    header = header_of(path)
    command = r"command: accelerate launch .*train\.py --config " + re.escape(str(path.relative_to(ROOT)))
    assert re.search(command, header)
    assert re.search(r"expected: .*\d", header)
    assert "source:" in header or ("stated" in header and "inferred:" in header)


@pytest.mark.parametrize("path", RECIPES, ids=key_of)
def test_the_commands_of_a_header_are_understood(path):
    commands = commands_of(path)
    assert commands
    for command in commands:
        options = load(TrainOptions, shlex.split(command), "").options
        smoothing = options.loss.smoothing or 0.0
        spec = loss_spec(options.loss, options.task)
        create_loss(spec, smoothing, num_classes=10, soft_targets=options.augmentation.cutmix > 0)


published = pytest.mark.parametrize("name", PUBLISHED)
# The released code decays neither biases nor batch norm, and the scripts that the paper follows no batch norm.
WITHOUT_DECAY_OF_NORMS = [name for name in PUBLISHED if name.startswith("imagenet/") and name.endswith("_maxsup")]
METHODS = {("ce", "0"): ("baseline", "hard")} | {("ce", part): ("label_smoothing",) for part in ("0.1", "0.1111111")}


def path_of(name: str) -> Path:
    return ROOT / "hparams" / f"{name}.yaml"


@functools.cache
def published_tables() -> dict[str, dict]:
    files = (ROOT / "sosr_timm" / "published").glob("*.yaml")
    return {table["table"]: table for path in files for table in yaml.safe_load(path.read_text())["published"]}


def accuracies(tables: tuple[str, ...], wanted: dict, methods: tuple[str, ...]) -> set[str]:
    """Every figure of these methods in these tables, as an accuracy in percent with the digits that are printed."""
    found = set()
    for name in tables:
        table = published_tables()[name]
        metric = table["metric"][0] if isinstance(table["metric"], list) else table["metric"]
        for row in table["rows"]:
            options = {key: value if isinstance(value, tuple) else (value,) for key, value in wanted.items()}
            if row["method"] in methods and all(row[key] in values for key, values in options.items()):
                mean = row["mean"][0] if isinstance(row["mean"], list) else row["mean"]
                found.add(f"{100 - mean if '_err' in metric else mean:.2f}")
    return found


@published
def test_the_expected_figures_are_the_published_ones(name):
    _, tables, wanted = PUBLISHED[name]
    expected = header_of(path_of(name)).partition("expected: ")[2].partition(" stated")[0]
    figures = re.findall(
        r"([\d.]+) %(?: top-1)? with --loss ['\"]?(\w+)([^ ]*?)(?: --smoothing ([\d.]*\d))?[ ,:;](?![\w=.]*\))",
        expected,
    )
    assert len(figures) == len(re.findall("--loss", expected)) >= 1
    for figure, loss, keywords, smoothing in figures:
        methods = ("label_smoothing",) if "end=" in keywords else METHODS.get((loss, smoothing), (loss,))
        printed = accuracies(tables, wanted, methods)
        assert f"{float(figure):.2f}" in printed, (loss, smoothing)


@published
def test_a_published_recipe_leaves_the_loss_to_the_command_line(name):
    assert not {"loss", "smoothing"} & set(yaml.safe_load(path_of(name).read_text()))
    assert create_loss("sosr").full_form == "ce(smoothing=0.0)+sosr(threshold=0.99, beta=0.5)"


@functools.cache
def network(name: str) -> torch.nn.Module:
    options = options_of_recipe(path_of(name)).model
    classes = CLASSES[name.partition("/")[0]]
    return timm.create_model(options.model, num_classes=classes, device="meta", **options.model_kwargs)


@published
def test_the_network_has_the_classes_of_the_data_set(name):
    options = options_of_recipe(path_of(name))
    dataset = name.partition("/")[0]
    assert options.data.dataset == ("" if dataset == "imagenet" else dataset)
    assert not options.data.dataset or options.data.dataset in DATASETS
    assert network(name).get_classifier().weight.shape[0] == CLASSES[dataset]
    assert options.model.pretrained == (dataset in ("cub200", "flowers102", "stanford_cars", "aircraft"))
    if options.model.pretrained:
        assert options.model.model in timm.list_pretrained()


@published
def test_the_optimizer_is_that_of_the_source(name):
    stated = PUBLISHED[name][0]
    options = options_of_recipe(path_of(name))
    assert options.optimizer.batch_size == stated["batch"]
    model = network(name)
    optimizer = create_optimizer(model, options.optimizer, options.schedule.lr)
    if name == "imagenet/deit_small_maxsup":
        assert isinstance(optimizer, torch.optim.AdamW)
        assert {group["weight_decay"] for group in optimizer.param_groups} == {0.0, stated["decay"]}
        return
    if name in WITHOUT_DECAY_OF_NORMS:
        spared, group = optimizer.param_groups
        assert spared["weight_decay"] == 0 and all(parameter.ndim == 1 for parameter in spared["params"])
        assert all(parameter.ndim > 1 for parameter in group["params"])
    else:
        (group,) = optimizer.param_groups
        assert len(group["params"]) == len(list(model.parameters()))
    found = (group["momentum"], group["nesterov"], group["weight_decay"])
    assert found == (0.9, stated["nesterov"], stated["decay"])


@published
def test_the_learning_rate_of_every_epoch_is_that_of_the_source(name):
    stated = PUBLISHED[name][0]
    options = options_of_recipe(path_of(name))
    optimizer = create_optimizer(torch.nn.Linear(2, 2), options.optimizer, options.schedule.lr)
    schedule, epochs = create_schedule(optimizer, options.schedule, updates_per_epoch=10, seed=0)
    assert epochs == stated["epochs"]
    found = []
    for epoch in range(epochs):
        schedule.set(epoch, 9)
        found.append(optimizer.param_groups[0]["lr"])
    assert found == pytest.approx([stated["rates"](epoch) for epoch in range(epochs)], rel=1e-6)


def test_every_recipe_is_one_of_these():
    """A recipe of a paper is checked against it; the others are our own."""
    ours = {"digits", "fashion_mnist", "glyphs", "study/fashion_mnist_resnet8", "study/glyphs_resnet8"}
    ours |= {"cifar10/cifar_resnet110_2d", "cifar10/cifar_resnet50"}  # whose published values are not of an accuracy
    assert {key_of(path) for path in RECIPES} - ours - timms_own() == set(PUBLISHED)


def timms_own() -> set[str]:
    """Recipes taken from timm, not from a paper of these losses."""
    return {f"imagenet/{name}" for name in ("resnet50_a1", "vit_small", "efficientnet_b0")}
