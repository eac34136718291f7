"""Accuracy by shots: counted by hand."""

import numpy as np

from sosr_timm.metrics.confusion import ClassCounts
from sosr_timm.metrics.shots import accuracy_by_shots


def test_groups_of_classes_by_their_training_images():
    target = np.array([0, 0, 1, 1, 2, 2, 3, 3, 3, 3])
    guess = np.array([0, 1, 1, 1, 0, 2, 0, 3, 3, 3])
    counts = ClassCounts.of(target, guess, 4)
    assert accuracy_by_shots(counts, [101, 100, 20, 19]) == {
        "many": {"classes": 1, "count": 2, "top1": 50.0},
        "medium": {"classes": 2, "count": 4, "top1": 75.0},
        "few": {"classes": 1, "count": 4, "top1": 75.0},
    }
    assert accuracy_by_shots(counts, [500] * 4)["few"] == {"classes": 0, "count": 0, "top1": None}
