"""What papers report for the same data set, model and method, from sosr_timm/published."""

from __future__ import annotations

import yaml

from sosr_timm.losses.spec import LossSpec
from sosr_timm.models.weights import timm_architecture
from sosr_timm.options.train_data import AugmentationOptions
from sosr_timm.published import FOLDER

SMALL_IMAGES = ("cifar10", "cifar100", "tiny_imagenet")  # their papers' models are our cifar_ ones
PLAIN = ("baseline", "hard", "ce")  # what the tables call cross entropy alone
NAMES = {"cp": "confidence_penalty", "logitnorm": "logit_normalization", "tfkd": "tf_kd"}


def published_values(dataset: str, model: str, method: str | None) -> list[dict[str, str]]:
    """The best top-1 values that papers report for this combination; empty where there are none.

    Args:
        dataset: key, as `imagenet`.
        model: name in timm or here.
        method: of `method_of`.

    Returns:
        `source` and `value` of each.
    """
    architecture = timm_architecture(model.partition(".")[0])
    if method is None or architecture.startswith("cifar_") != (dataset in SMALL_IMAGES):
        return []
    wanted = PLAIN if method == "baseline" else (method,)
    found = []
    for path in sorted(FOLDER.glob("*.yaml")):
        for table in yaml.safe_load(path.read_text(encoding="utf-8"))["published"]:
            if table.get("dataset") != dataset or table.get("metric") != "top1_best":
                continue
            for row in table["rows"]:
                if row.get("model") == architecture.removeprefix("cifar_") and row.get("method") in wanted:
                    spread = f" ± {row['std']}" if row.get("std") is not None else ""
                    found.append({"source": f"`{path.name}`, `{table['table']}`", "value": f"{row['mean']}{spread}"})
    return found


def method_of(loss: LossSpec, augmentation: AugmentationOptions) -> str | None:
    """A run's method as the tables name it; None for one that no table has."""
    if augmentation.mixup > 0 or augmentation.aa or augmentation.reprob > 0 or augmentation.cutmix_minmax:
        return None
    words = ["cutmix"] if augmentation.cutmix > 0 else []
    words += ["label_smoothing"] if loss.base.keywords.get("smoothing") else []
    words += [NAMES.get(term.name, term.name) for term in (loss.base, *loss.penalties) if term.name != "ce"]
    return "+".join(words) or "baseline"
