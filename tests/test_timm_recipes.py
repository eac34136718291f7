"""Three public recipes of timm train here from YAML, on real photographs in folders laid out like ImageNet's."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_sample_images

from sosr_timm.errors import UserError
from tests.training.harness import only_run, train_here

ROOT = Path(__file__).resolve().parents[1]
# What a recipe is known by: the optimizer's class, and how the loss reads.
RECIPES = {
    "resnet50_a1": ("Lamb", "bce("),
    "vit_small": ("AdamW", "ce(smoothing=0.1)"),
    "efficientnet_b0": ("RMSpropTF", "ce(smoothing=0.1)"),
}
# What a CPU can do: small images, few of them, float32.
SMALL = ("--img-size", 64, "--batch-size", 4, "--workers", 0, "--no-amp", "--num-classes", 4)
ALSO = {"vit_small": ("--model-kwargs", "img_size=64")}


@pytest.fixture(scope="module")
def imagenet(tmp_path_factory) -> Path:
    """train/ and val/ with a folder for each synset: pieces of scikit-learn's two photographs."""
    root = tmp_path_factory.mktemp("imagenet")
    random = np.random.default_rng(0)
    photographs = [Image.fromarray(pixels) for pixels in load_sample_images().images]
    for number, synset in enumerate(("n01440764", "n01443537", "n02123045", "n03930313")):
        photograph = photographs[number % 2]
        for split, count in (("train", 8), ("val", 2)):
            folder = root / split / synset
            folder.mkdir(parents=True)
            for image in range(count):
                width, height = random.integers(80, 160, 2)
                left, top = random.integers(0, 300), random.integers(0, 200)
                piece = photograph.crop((left, top, left + width, top + height))
                piece.save(folder / f"{synset}_{image}.JPEG", quality=85)
    return root


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_makes_a_plan_and_two_updates(imagenet, tmp_path, capsys, name):
    recipe = ROOT / "hparams" / "imagenet" / f"{name}.yaml"
    output = tmp_path / "runs"
    assert (
        train_here(
            "--config", recipe, *SMALL, *ALSO.get(name, ()), "--data-dir", imagenet, "--dry-run", "--output", output
        )
        == 0
    )
    text = capsys.readouterr().out
    optimizer, loss = RECIPES[name]
    assert f" {optimizer}, " in text and f" {loss}" in text
    assert not output.exists()


def test_a_network_that_takes_one_size_only_says_how_to_get_another(imagenet, tmp_path):
    recipe = ROOT / "hparams" / "imagenet" / "vit_small.yaml"
    with pytest.raises(
        UserError, match=r"64 x 64 pixels \(Input height \(64\) doesn't match model.*--model-kwargs.*img_size=64"
    ):
        train_here("--config", recipe, *SMALL, "--data-dir", imagenet, "--dry-run", "--output", tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_trains_for_twenty_updates(imagenet, tmp_path, name):
    recipe = ROOT / "hparams" / "imagenet" / f"{name}.yaml"
    length = ("--epochs", 2, "--train-steps-per-epoch", 10, "--log-interval", 1, "--warmup-epochs", 1)
    assert (
        train_here(
            "--config", recipe, *SMALL, *ALSO.get(name, ()), *length, "--data-dir", imagenet, "--output", tmp_path
        )
        == 0
    )
    run = only_run(tmp_path)
    lines = [json.loads(line) for line in run.metrics.read_text().splitlines()]
    losses = [line["loss"] for line in lines if line["kind"] == "train"]
    assert len(losses) == 20 and all(map(math.isfinite, losses))
    last = json.loads((run.path / "result.json").read_text())["last"]
    assert math.isfinite(last["loss"])
    assert ("loss_ema" in last) == (name != "resnet50_a1")
