"""Confusion, precision, recall and F1 are scikit-learn's."""

import numpy as np
import pytest
from sklearn import metrics as sklearn

from sosr_timm.metrics import ClassCounts, confusion_matrix


def labels(classes, seed=0, count=200):
    random = np.random.default_rng(seed)
    return random.integers(0, classes, count), random.integers(0, classes + 2, count)  # two never come, only guessed


@pytest.mark.parametrize("average", ["macro", "micro", "weighted"])
@pytest.mark.parametrize("classes", [2, 7, 90])
def test_averages(classes, average):
    target, guess = labels(classes)
    found = ClassCounts.of(target, guess, classes + 4).averages()[average]
    theirs = sklearn.precision_recall_fscore_support(target, guess, average=average, zero_division=0)[:3]
    assert [found["precision"], found["recall"], found["f1"]] == pytest.approx(theirs, rel=1e-13)


def test_per_class():
    target, guess = labels(7)
    counts = ClassCounts.of(target, guess, 9)
    theirs = sklearn.precision_recall_fscore_support(target, guess, labels=range(9), zero_division=0)
    for ours, wanted in zip([*counts.per_class().values(), counts.count], theirs, strict=True):
        np.testing.assert_allclose(ours, wanted, rtol=1e-14)


def test_confusion_matrix():
    target, guess = labels(7)
    assert (confusion_matrix(target, guess, 9) == sklearn.confusion_matrix(target, guess, labels=range(9))).all()
