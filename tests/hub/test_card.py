"""The model card: metadata that the Hub's own library reads back, figures that are the files'."""

import json
import re

import pytest
import yaml
from huggingface_hub import ModelCard, metadata_load
from huggingface_hub.repocard_data import model_index_to_eval_results

from sosr_timm.hub import published
from sosr_timm.hub.card import split_name
from sosr_timm.hub.datasets import dataset_of
from sosr_timm.hub.methods import METHODS, methods_of
from sosr_timm.hub.published import method_of, published_values
from sosr_timm.losses import BASES, PENALTIES
from sosr_timm.losses.spec import is_our_term, parse_loss
from sosr_timm.options.load import load
from sosr_timm.options.train import TrainOptions
from sosr_timm.options.train_data import DataOptions
from tests.hub.harness import hub_command

REPOSITORY = "somebody/sosr_resnet18.digits"


@pytest.fixture(scope="module")
def folder(runs, tmp_path_factory):
    path = tmp_path_factory.mktemp("card") / "folder"
    hub_command("publish", runs / "timms", "--repo-id", REPOSITORY, "--dry-run", path)
    return path


def test_the_metadata_is_what_was_evaluated(folder):
    metadata = metadata_load(folder / "README.md")
    assert (metadata["library_name"], metadata["pipeline_tag"]) == ("timm", "image-classification")
    assert metadata["license"] == "apache-2.0"
    assert "arxiv:2103.15383" in metadata["tags"]
    name, results = model_index_to_eval_results(metadata["model-index"])
    figures = json.loads((folder / "evaluation.json").read_text())["weights"]["weights"]
    assert name == "sosr_resnet18.digits"
    assert [result.metric_value for result in results] == [
        figures[key] for key in ("top1", "top5", "loss", "ece", "brier")
    ]


def test_the_hub_validates_the_card(hub, folder):
    ModelCard.load(folder / "README.md").validate()
    assert "POST /api/validate-yaml" in hub.requests


def test_the_text_says_what_the_records_say(folder):
    text = (folder / "README.md").read_text()
    result = json.loads((folder / "result.json").read_text())
    for part in (
        result["loss"],
        f"`{result['command']}`",
        "| seed | 42 |",
        f"torch {result['environment']['torch']}",
        str(result["environment"]["commit"]),
        METHODS["sosr"].about,
        METHODS["sosr"].bibtex,
        "Only timm is needed.",
    ):
        assert part in text
    assert "{{" not in text.replace("{{Sel", "") and "{%" not in text
    named = re.findall(r"\]\(([^):]+)\)", text)
    assert named and all((folder / name).is_file() for name in named)


def test_the_snippet_of_the_card_runs(folder):
    (snippet,) = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(), flags=re.DOTALL)
    found = {}
    exec(snippet.replace(f"hf-hub:{REPOSITORY}", f"local-dir:{folder}"), found)
    for name in ("probabilities", "features", "embedding"):
        (line,) = [line for line in snippet.splitlines() if line.strip().startswith(f"{name} =")]
        assert line.endswith(f"# {tuple(found[name].shape)}")


def test_every_loss_of_ours_has_a_card():
    ours = {name for name in BASES if is_our_term(name)} - {"ce"}
    assert set(PENALTIES) | ours == set(METHODS)
    assert [method.arxiv for method in methods_of(parse_loss("ols+sosr"))] == ["2011.12562", "2103.15383"]
    for method in METHODS.values():
        assert (method.arxiv or method.doi) in method.bibtex and "pages" not in method.bibtex
        assert (method.arxiv or method.doi) in method.paper and bool(method.arxiv) != bool(method.doi)


@pytest.mark.parametrize(
    ("flags", "recipe", "expected"),
    [
        (["--dataset", "fashion_mnist"], "", ("fashion_mnist", "Fashion-MNIST", "zalando-datasets/fashion_mnist")),
        (["--dataset", "torch/cifar100"], "", ("cifar100", "CIFAR-100", "uoft-cs/cifar100")),
        (["--dataset", "hfds/me/mine"], "", ("me/mine", "me/mine", "me/mine")),
        (["--data-dir", "/data/x"], "imagenet/sosr_resnet50", ("imagenet", "ImageNet-1k", "ILSVRC/imagenet-1k")),
        (["--data-dir", "/data/birds"], "", ("birds", "birds", "")),
    ],
)
def test_the_data_set_by_its_names(flags, recipe, expected):
    found = dataset_of(load(TrainOptions, flags).options, recipe)
    assert (found.key, found.title, found.hub_id) == expected


ROWS = [
    {"model": "resnet50", "method": "sosr", "mean": 77.3, "std": 0.02},
    {"model": "resnet50", "method": "baseline", "mean": 76.2, "std": None},
]


def test_published_figures_are_those_of_the_same_thing_only(tmp_path, monkeypatch):
    tables = [{"table": "t3", "dataset": "imagenet", "metric": "top1_best", "rows": ROWS}]
    (tmp_path / "sosr.yaml").write_text(yaml.safe_dump({"published": tables}))
    monkeypatch.setattr(published, "FOLDER", tmp_path)
    assert published_values("imagenet", "sosr_resnet50", "sosr") == [
        {"source": "`sosr.yaml`, `t3`", "value": "77.3 ± 0.02"}
    ]
    assert published_values("imagenet", "resnet50.a1_in1k", "baseline")[0]["value"] == "76.2"
    for other in (("cifar100", "resnet50", "sosr"), ("imagenet", "resnet18", "sosr"), ("imagenet", "resnet50", None)):
        assert published_values(*other) == []


@pytest.mark.parametrize(
    ("flags", "method"),
    [
        (["--loss", "sosr"], "sosr"),
        (["--loss", "ce(smoothing=0.0)"], "baseline"),
        (["--loss", "ce(smoothing=0.1)+sosr"], "label_smoothing+sosr"),
        (["--loss", "sosr", "--cutmix", "1"], "cutmix+sosr"),
        (["--loss", "cp"], "confidence_penalty"),
        (["--loss", "sosr", "--mixup", "0.2"], None),
        (["--loss", "sosr", "--aa", "rand-m9-mstd0.5"], None),
    ],
)
def test_methods_by_the_names_of_the_tables(flags, method):
    options = load(TrainOptions, flags).options
    assert method_of(parse_loss(options.loss.loss), options.augmentation) == method


def test_the_papers_figures_of_our_entries_are_found():
    (row,) = published_values("imagenet", "sosr_resnet50", "sosr")
    assert row == {"source": "`sosr.yaml`, `sosr_t3`", "value": "77.3 ± 0.02"}
    assert published_values("cifar100", "cifar_resnet56", "baseline")[-1]["value"].startswith("73.61")


def test_a_part_that_was_held_out_is_not_called_the_validation_split():
    assert split_name(DataOptions(val_split="test")) == "test"
    assert split_name(DataOptions(val_fraction=0.1)) == "train (about 0.1 of it, held out)"
