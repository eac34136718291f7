"""Confusion matrix, precision, recall and F1 from integer counts, hence the same for any number of processes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np


def confusion_matrix(target: np.ndarray, guess: np.ndarray, classes: int) -> np.ndarray:
    """How often each class was predicted for each label.

    Args:
        target: (N,) integers in [0, classes).
        guess: (N,) integers in [0, classes).
        classes: K.

    Returns:
        (K, K) int64: rows are labels, columns guesses.
    """
    return np.bincount(target * classes + guess, minlength=classes * classes).reshape(classes, classes)


@dataclass(frozen=True)
class ClassCounts:
    """The counts behind precision, recall and F1, a value for each class.

    Attributes:
        right: (K,) samples of the class that were guessed to be of it.
        guessed: (K,) samples guessed to be of the class.
        count: (K,) samples of the class.
    """

    right: np.ndarray
    guessed: np.ndarray
    count: np.ndarray

    @classmethod
    def of(cls, target: np.ndarray, guess: np.ndarray, classes: int) -> ClassCounts:
        """The counts of (N,) labels and (N,) guesses in [0, classes)."""
        right = np.bincount(target[target == guess], minlength=classes)
        return cls(right, np.bincount(guess, minlength=classes), np.bincount(target, minlength=classes))

    def per_class(self) -> dict[str, np.ndarray]:
        """(K,) `precision`, `recall` and `f1` as fractions; 0 where a class was never guessed or never came."""
        return {
            "precision": _ratio(self.right, self.guessed),
            "recall": _ratio(self.right, self.count),
            "f1": _ratio(2 * self.right, self.guessed + self.count),
        }

    def averages(self) -> dict[str, dict[str, float]]:
        """`macro`, `micro` and `weighted` averages of precision, recall and F1 as fractions, as in scikit-learn.

        Classes that neither came nor were guessed are left out. `weighted` weighs a class by its samples; `micro`
        counts all classes together, which for one label per sample makes all three the accuracy.
        """
        seen = (self.count + self.guessed) > 0
        weights = self.count / self.count.sum()
        metrics = self.per_class()
        accuracy = int(self.right.sum()) / int(self.count.sum())
        return {
            "macro": {name: math.fsum(values[seen]) / int(seen.sum()) for name, values in metrics.items()},
            "micro": dict.fromkeys(metrics, accuracy),
            "weighted": {name: math.fsum(values * weights) for name, values in metrics.items()},
        }


def _ratio(part: np.ndarray, total: np.ndarray) -> np.ndarray:
    return np.divide(part, total, out=np.zeros(len(total)), where=total > 0)
