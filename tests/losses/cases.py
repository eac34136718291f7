"""Which losses the contract tests run on: everything in the registries, and the combinations worth a look."""

import re

import numpy as np
import torch

from sosr_timm.losses import BASES, PENALTIES
from sosr_timm.losses.base import Term

ARGUMENTS = {"jsd": "jsd(splits=2)", "db": "db(class_counts=[3.0, 2.0, 4.0, 1.0, 5.0], num_samples=16)"}
MULTI_LABEL_ONLY = ("twoway", "zlpr", "db")
INDEX_ONLY = ("asl", "jsd", "zipf", "ls_parts")  # not for mixed targets
NO_CLASS_WEIGHT = ("tfkd", "relaxation")
NOT_SHIFT_INVARIANT = ("logit_penalty", "logitnorm")

OUR_BASES = [name for name in BASES if isinstance(BASES[name], type) and issubclass(BASES[name], Term)]
TIMM_BASES = [name for name in BASES if name not in OUR_BASES]
SINGLE_LABEL = [ARGUMENTS.get(name, name) for name in BASES if name not in MULTI_LABEL_ONLY]
MULTI_LABEL = [ARGUMENTS.get(name, name) for name in MULTI_LABEL_ONLY]
OF_MIXED = "+".join(name for name in PENALTIES if name not in INDEX_ONLY)
VARIANTS = [
    "ce(smoothing=0.1, end=0.3)",
    "focal(schedule=53)",
    "focal(gamma=0.5, smoothing=0.1)+cp",
    "logitnorm(temperature=0.5, smoothing=0.1)",
    "tfkd(temperature=4.0, form='paper')+sosr(threshold=0.5)",
    "margin(margin=1.0)",
    "ls_parts(part='amplification')",
    "ls_parts(part='top')",
]
OURS = [
    *OUR_BASES,
    *PENALTIES,
    f"ols+{OF_MIXED}",
    "+".join(["relaxation", *PENALTIES]),
    "ce(smoothing=0.1)+sosr(threshold=0.5)+cp",
    *VARIANTS,
]
SPECS = [*SINGLE_LABEL, *OURS[len(OUR_BASES) :], f"bce+{OF_MIXED}"]


def names_in(spec: str) -> set[str]:
    """The terms of a loss, without an implied ce."""
    return set(re.findall(r"(?:^|\+)(\w+)", spec))


def takes_dense(spec: str) -> bool:
    return not names_in(spec) & set(INDEX_ONLY) and "end=" not in spec


def targets_of(spec: str, index, dense) -> list:
    """The kinds of target that a loss is defined for."""
    return [index, dense] if takes_dense(spec) else [index]


def batch(rows=6, classes=5, scale=4.0, seed=0, dtype=torch.float64):
    """Logits, class indices, and dense targets that mix some rows and leave others alone."""
    rng = np.random.default_rng(seed)
    logits = torch.tensor(rng.normal(size=(rows, classes)) * scale, dtype=dtype)
    index = torch.tensor(rng.integers(classes, size=rows))
    index[::2] = logits.argmax(dim=1)[::2]  # so that some predictions are right
    weight = torch.tensor(rng.uniform(size=(rows, 1)), dtype=dtype)
    weight[: rows // 2] = 1.0
    hot = torch.nn.functional.one_hot(index, classes).to(dtype)
    return logits, index, weight * hot + (1 - weight) * hot.flip(0)
