"""Random state as a function of what is being done, so that nothing depends on what was done before."""

from __future__ import annotations

import random

import numpy as np
import torch

# What the random numbers are for; the first word of every seed after the run's own.
SAMPLE, MIXING, STEP, ORDER = 1, 2, 3, 4
LONG_TAIL, LABEL_NOISE = 101, 102


def seed_words(*words: int, count: int = 1) -> list[int]:
    """Well-mixed 32-bit seeds from a few integers (NumPy's SeedSequence)."""
    return np.random.SeedSequence(words).generate_state(count).tolist()


def seed_everything(*words: int) -> None:
    """Seed `random`, NumPy and torch (the CPU's and the accelerators' generators) from a few integers."""
    first, second, third = seed_words(*words, count=3)
    random.seed(first)
    np.random.seed(second)
    torch.manual_seed(third)


def seed_cpu(*words: int) -> None:
    """`seed_everything` without the accelerators: what a loader process needs."""
    first, second, third = seed_words(*words, count=3)
    random.seed(first)
    np.random.seed(second)
    torch.default_generator.manual_seed(third)
