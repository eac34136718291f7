"""Numbers that are checked, and the registries."""

import pytest
import torch

from sosr_timm.losses import BASES, PENALTIES
from sosr_timm.losses.base import check_number, working_precision


@pytest.mark.parametrize(
    "value, bounds, message",
    [
        (True, {}, "x must be a number, got bool"),
        ("1", {}, "x must be a number, got str"),
        (float("nan"), {}, "x must be finite"),
        (10**400, {}, "x must be finite"),
        (-1, {"low": 0.0}, "x must be at least 0, got -1"),
        (0, {"low": 0.0, "above": True}, "x must be more than 0, got 0"),
        (1, {"low": 0.0, "high": 1.0, "below": True}, r"x must be in \[0, 1\), got 1"),
        (0, {"low": 0.0, "high": 1.0, "above": True}, r"x must be in \(0, 1\], got 0"),
    ],
)
def test_check_number(value, bounds, message):
    with pytest.raises(ValueError, match=message):
        check_number("x", value, **bounds)


def test_check_number_gives_a_float():
    assert check_number("x", 1) == 1.0 and type(check_number("x", 1)) is float


def test_working_precision():
    assert working_precision(torch.zeros(1, dtype=torch.bfloat16)).dtype == torch.float32
    assert working_precision(torch.zeros(1, dtype=torch.float16)).dtype == torch.float32
    for dtype in (torch.float32, torch.float64):
        assert working_precision(torch.zeros(1, dtype=dtype)).dtype == dtype


def test_names_are_unique_over_both_registries():
    assert not set(BASES) & set(PENALTIES)
