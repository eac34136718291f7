"""What the tests of the losses share."""

import contextlib

import pytest

from sosr_timm.kernels import use_kernel


@pytest.fixture(params=[None, "plain"], ids=["default", "plain"])
def either_kernel(request):
    """The kernel that is used by itself, the row kernel on the CPU, and the terms one after the other."""
    with use_kernel(request.param) if request.param else contextlib.nullcontext():
        yield
