"""Every recipe loads strictly, says where it comes from, and trains as its source does."""

import re
from pathlib import Path

import pytest
import timm
import yaml

import sosr_timm  # noqa: F401  (registers the models)
from sosr_timm.engine.optimization import create_optimizer, create_schedule
from sosr_timm.losses import create_loss
from sosr_timm.options.load import build, load, read_config
from sosr_timm.options.train import TrainOptions

ROOT = Path(__file__).resolve().parents[1]
LAUNCH = ROOT / "hparams" / "accelerate"
RECIPES = sorted(path for path in (ROOT / "hparams").rglob("*.yaml") if path.parent != LAUNCH)
PUBLISHED = [path for path in RECIPES if path.parent.name in ("cifar100", "imagenet")]


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def options_of_recipe(path: Path) -> TrainOptions:
    return build(TrainOptions, read_config(TrainOptions, path))


@pytest.mark.parametrize("path", RECIPES, ids=name_of)
def test_a_recipe_loads_and_states_command_expected_figure_and_source(path):
    options = options_of_recipe(path)
    assert timm.is_model(options.model.model)
    header = " ".join(line.lstrip("# ") for line in path.read_text().splitlines() if line.startswith("#"))
    assert re.search(r"command: +accelerate launch .*train\.py +--config " + re.escape(name_of(path)), header)
    assert re.search(r"expected: .*\d", header)
    assert "source:" in header or ("stated" in header and "inferred:" in header)


@pytest.mark.parametrize("path", RECIPES, ids=name_of)
def test_the_commands_of_a_header_are_understood(path):
    for words in re.findall(r"train\.py\s+(?:#\s+)?(--config [^\n]+)", path.read_text()):
        options = load(TrainOptions, words.split(), "").options
        create_loss(options.loss.loss, options.loss.smoothing or 0.0, soft_targets=options.augmentation.cutmix > 0)


@pytest.mark.parametrize("path", PUBLISHED, ids=name_of)
def test_a_published_recipe_leaves_the_loss_to_the_command_line(path):
    assert "loss" not in yaml.safe_load(path.read_text())
    assert create_loss("sosr").full_form == "ce(smoothing=0.0)+sosr(threshold=0.99, beta=0.5)"


@pytest.mark.parametrize("path", PUBLISHED, ids=name_of)
def test_a_published_recipe_has_plain_sgd_with_decay_on_every_parameter(path):
    options = options_of_recipe(path)
    model = timm.create_model(options.model.model)
    optimizer = create_optimizer(model, options.optimizer, options.schedule.lr)
    (group,) = optimizer.param_groups
    assert (group["lr"], group["momentum"], group["nesterov"], group["weight_decay"]) == (0.1, 0.9, False, 1e-4)
    assert len(group["params"]) == len(list(model.parameters()))


@pytest.mark.parametrize(
    ("name", "rates"),
    [
        ("cifar100/cifar_resnet56", {0: 0.1, 149: 0.1, 150: 0.01, 224: 0.01, 225: 0.001, 299: 0.001}),
        ("imagenet/sosr_resnet18", {0: 0.1, 74: 0.1, 75: 0.01, 149: 0.01, 150: 0.001, 225: 1e-4, 299: 1e-4}),
        ("imagenet/sosr_resnet50", {0: 0.1, 74: 0.1, 75: 0.01, 149: 0.01, 150: 0.001, 225: 1e-4, 299: 1e-4}),
    ],
)
def test_the_learning_rate_falls_at_the_epochs_of_the_source(name, rates):
    options = options_of_recipe(ROOT / "hparams" / f"{name}.yaml")
    optimizer = create_optimizer(timm.create_model("cifar_resnet20"), options.optimizer, options.schedule.lr)
    schedule, epochs = create_schedule(optimizer, options.schedule, updates_per_epoch=10, seed=0)
    assert epochs == 300
    for epoch, rate in rates.items():
        schedule.set(epoch, 0)
        assert optimizer.param_groups[0]["lr"] == pytest.approx(rate), epoch
