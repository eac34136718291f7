"""Which literals fit which annotations, and what a constructor's signature says."""

from collections.abc import Sequence
from typing import Optional, Union

import pytest
import torch

from sosr_timm.losses.keywords import context_of, fit, keywords_of
from sosr_timm.losses.ols import OnlineLabelSmoothing

WEIGHTS = Optional[Union[torch.Tensor, float, Sequence[float]]]  # noqa: UP007, UP045  (as timm writes it)


@pytest.mark.parametrize(
    "value, annotation, result",
    [
        (1, float, 1.0),
        (-0.5, float, -0.5),
        (3, int, 3),
        (True, bool, True),
        ("a", str, "a"),
        (None, float | None, None),
        (2, float | None, 2.0),
        (2, int | float, 2),
        ([1, 2.5], WEIGHTS, [1.0, 2.5]),
        ((1, 2), WEIGHTS, [1.0, 2.0]),
        (2, WEIGHTS, 2.0),
    ],
)
def test_fits(value, annotation, result):
    found = fit(value, annotation)
    assert found == result and type(found) is type(result)


@pytest.mark.parametrize(
    "value, annotation, message",
    [
        (True, float, "must be a finite number"),
        (True, int, "must be an integer"),
        (1.0, int, "must be an integer"),
        (1, bool, "must be True or False"),
        ("1", float, "must be a finite number"),
        (float("inf"), float, "must be a finite number"),
        (float("nan"), float, "must be a finite number"),
        (2**70, int, "64 bits"),
        (10**400, float, "must be a finite number"),
        (1 + 2j, float, "must be a finite number"),
        (b"a", str, "must be a string"),
        (None, float, "must be a finite number"),
        ([], WEIGHTS, "must be a finite number or None or a list of finite numbers"),
        ([1, "2"], WEIGHTS, "a list of finite numbers"),
        ([[1]], WEIGHTS, "a list of finite numbers"),
        ({1: 2}, WEIGHTS, "a list of finite numbers"),
    ],
)
def test_does_not_fit(value, annotation, message):
    with pytest.raises(ValueError, match=message):
        fit(value, annotation)


def test_signature_of_a_term():
    assert list(keywords_of(OnlineLabelSmoothing)) == ["alpha", "init"]
    assert keywords_of(OnlineLabelSmoothing)["alpha"].annotation is float
    assert context_of(OnlineLabelSmoothing) == {"num_classes", "class_weight"}
