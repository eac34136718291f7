"""Which losses the contract tests run on: everything in the registries, and the combinations worth a look."""

import numpy as np
import torch

from sosr_timm.losses import BASES, PENALTIES
from sosr_timm.losses.base import Term

ARGUMENTS = {"jsd": "jsd(splits=2)", "db": "db(class_counts=[3.0, 2.0, 4.0, 1.0, 5.0], num_samples=16)"}
MULTI_LABEL_ONLY = ("twoway", "zlpr", "db")
INDEX_ONLY = ("asl", "jsd")

OUR_BASES = [name for name in BASES if isinstance(BASES[name], type) and issubclass(BASES[name], Term)]
TIMM_BASES = [name for name in BASES if name not in OUR_BASES]
SINGLE_LABEL = [ARGUMENTS.get(name, name) for name in BASES if name not in MULTI_LABEL_ONLY]
MULTI_LABEL = [ARGUMENTS.get(name, name) for name in MULTI_LABEL_ONLY]
OURS = [*OUR_BASES, *PENALTIES, "+".join(["ols", *PENALTIES]), "ce(smoothing=0.1)+sosr(threshold=0.5)+cp"]
SPECS = [*SINGLE_LABEL, *OURS[len(OUR_BASES) :], "+".join(["bce", *PENALTIES])]


def takes_dense(spec: str) -> bool:
    return not spec.startswith(INDEX_ONLY)


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
