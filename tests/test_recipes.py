"""Every recipe loads strictly, says where it comes from, and trains as its source does."""

import functools
import math
import re
import shlex
from pathlib import Path

import pytest
import timm
import torch
import yaml

import sosr_timm  # noqa: F401  (registers the models)
from sosr_timm.data.catalog import DATASETS
from sosr_timm.engine.optimization import create_optimizer
from sosr_timm.engine.schedule import create_schedule
from sosr_timm.losses import create_loss
from sosr_timm.options.load import build, load, read_config
from sosr_timm.options.train import TrainOptions

ROOT = Path(__file__).resolve().parents[1]
LAUNCH = ROOT / "hparams" / "accelerate"
RECIPES = sorted(path for path in (ROOT / "hparams").rglob("*.yaml") if path.parent != LAUNCH)
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
    commands = re.findall(r"train\.py\s+(?:#\s+)?(--config [^\n]+)", path.read_text())
    assert commands
    for command in commands:
        options = load(TrainOptions, shlex.split(command), "").options
        smoothing = options.loss.smoothing or 0.0
        create_loss(options.loss.loss, smoothing, num_classes=10, soft_targets=options.augmentation.cutmix > 0)


# --- the papers' recipes ---------------------------------------------------------------------------------------------


def falls(rate: float, factor: float, *epochs: int):
    return lambda epoch: rate * factor ** sum(epoch >= fall for fall in epochs)


def cosine(rate: float, epochs: int, lowest: float = 0.0):
    return lambda epoch: lowest + (rate - lowest) * (1 + math.cos(math.pi * epoch / epochs)) / 2


def warm_up(start: float, epochs: int, rate: float, then):
    return lambda epoch: start + (rate - start) * epoch / epochs if epoch < epochs else then(epoch)


def sgd(rates, epochs: int, batch: int, decay: float = 1e-4, nesterov: bool = False) -> dict:
    return {"rates": rates, "epochs": epochs, "batch": batch, "decay": decay, "nesterov": nesterov}


SOSR_CIFAR = sgd(falls(0.1, 0.1, 150, 225), 300, 128)
SOSR_IMAGENET = sgd(falls(0.1, 0.1, 75, 150, 225), 300, 256)
OLS_CIFAR = sgd(falls(0.1, 0.1, 150, 225), 300, 128, decay=5e-4, nesterov=True)
OLS_IMAGENET = sgd(falls(0.1, 0.1, 75, 150, 225), 250, 256, nesterov=True)
OLS_FINE_GRAINED = sgd(falls(0.01, 0.1, 45, 80), 100, 64)
MAXSUP_CIFAR = sgd(falls(0.1, 0.2, 60, 120, 160), 200, 128, decay=5e-4)
MAXSUP_IMAGENET = sgd(cosine(0.85, 200), 200, 2048)
LONG_TAIL = sgd(warm_up(0.2 / 3, 5, 0.2, falls(0.2, 0.01, 120, 160)), 200, 256, decay=5e-4)
DEIT = {"rates": warm_up(1e-6, 5, 1e-3, cosine(1e-3, 300, 1e-5)), "epochs": 300, "batch": 1024, "decay": 0.05}

TABLE_1 = ("vgg19_bn", "resnet56", "resnet110", "regnetx_200mf", "densenet_100_12", "wrn_28_10", "se_resnet110")
TABLE_1 += ("pyramidnet_110_48", "pyramidnet_110_84", "mobilenet", "mobilenetv2")
FINE_GRAINED = {"cub200/resnet50_ols": "cub", "flowers102/resnet50": "flowers"}
FINE_GRAINED |= {"stanford_cars/resnet50": "cars", "aircraft/resnet50": "aircraft"}

# recipe -> how its source trains, and where its figures are printed: tables, and what to look for in their rows
PUBLISHED = {f"cifar100/cifar_{name}": (SOSR_CIFAR, ("sosr_t1", "sosr_t5"), {"model": name}) for name in TABLE_1}
PUBLISHED |= {
    f"tiny_imagenet/cifar_resnet{depth}": (SOSR_CIFAR, ("sosr_t2",), {"model": f"resnet{depth}"}) for depth in (56, 110)
}
PUBLISHED |= {
    f"imagenet/sosr_resnet{depth}": (SOSR_IMAGENET, ("sosr_t3",), {"model": f"resnet{depth}"}) for depth in (18, 50)
}
PUBLISHED["cub200/resnet50"] = (
    sgd(falls(0.001, 0.1, 30, 60, 90), 95, 16),
    ("sosr_t4",),
    {"model": "resnet50_imagenet_pretrained"},
)
OLS_SECONDARY = ("ols_cifar100_secondary", "ols_official_logs")
PUBLISHED |= {
    "cifar100/cifar_resnet34": (OLS_CIFAR, OLS_SECONDARY, {"model": "resnet34_imagenet_type"}),
    "cifar100/cifar_resnext29_2x64d": (OLS_CIFAR, OLS_SECONDARY, {"model": "resnext29_2x64d"}),
    "cifar100/cifar_resnet56_ols": (OLS_CIFAR, OLS_SECONDARY, {"model": "resnet56"}),
}
PUBLISHED |= {
    f"imagenet/resnet{depth}_ols": (OLS_IMAGENET, ("ols_imagenet_secondary",), {"model": f"resnet{depth}"})
    for depth in (50, 101)
}
PUBLISHED |= {
    name: (
        OLS_FINE_GRAINED,
        ("ols_t6_finegrained_top1", "maxsup_t6_finegrained"),
        {"dataset": short, "model": ("resnet50", "resnet50_inferred")},
    )
    for name, short in FINE_GRAINED.items()
}
PUBLISHED |= {
    f"cifar100/cifar_{model}{'_maxsup' if model == 'mobilenetv2' else ''}": (
        MAXSUP_CIFAR,
        ("maxsup_t4_cifar100",),
        {"model": model},
    )
    for model in ("resnet18", "resnet50", "resnet101", "mobilenetv2")
}
PUBLISHED |= {
    f"imagenet/{model}_maxsup": (MAXSUP_IMAGENET, ("maxsup_t4_imagenet",), {"model": model})
    for model in ("resnet18", "resnet50", "resnet101", "mobilenetv2")
}
PUBLISHED["imagenet/deit_small_maxsup"] = (DEIT, ("maxsup_t5_deit",), {"model": "deit_small"})
PUBLISHED["cifar10/cifar_resnet32"] = (LONG_TAIL, ("maxsup_t7_longtail",), {"split": "test", "imbalance": 100})

published = pytest.mark.parametrize("name", PUBLISHED)
METHODS = {("ce", "0"): ("baseline", "hard"), ("ce", "0.1"): ("label_smoothing",)}


def path_of(name: str) -> Path:
    return ROOT / "hparams" / f"{name}.yaml"


@functools.cache
def published_tables() -> dict[str, dict]:
    files = (ROOT / "experiments" / "published").glob("*.yaml")
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
        r"([\d.]+) %(?: top-1)? with --loss ['\"]?(\w+)[^ ]*?(?: --smoothing ([\d.]*\d))?[ ,:;]", expected
    )
    assert len(figures) == len(re.findall("--loss", expected)) >= 1
    for figure, loss, smoothing in figures:
        printed = accuracies(tables, wanted, METHODS.get((loss, smoothing), (loss,)))
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
    ours = {"digits", "fashion_mnist"}
    assert {key_of(path) for path in RECIPES} - ours - timms_own() == set(PUBLISHED)


def timms_own() -> set[str]:
    """Recipes taken from timm, not from a paper of these losses."""
    return {f"imagenet/{name}" for name in ("resnet50_a1", "vit_small", "efficientnet_b0")}
