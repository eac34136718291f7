"""What the CPU kernel allocates: the gradient and blocks, nothing that grows with the batch."""

import pytest

from benchmarks.memory import peak_bytes
from sosr_timm.kernels import use_kernel
from sosr_timm.losses import create_loss
from tests.kernels.cases import PLAIN_ON_DENSE, SPECS, make_batch
from tests.losses.cases import names_in, targets_of


@pytest.mark.parametrize("spec", [spec for spec in SPECS if "ols" not in spec])
def test_nothing_as_large_as_the_logits_beside_the_gradient(spec, monkeypatch):
    monkeypatch.setattr("sosr_timm.kernels.cpu.BLOCK", 10_000)
    logits, index, dense = make_batch(2000, 500)
    matrix = logits.nbytes
    for target in targets_of(spec, index, dense):
        if target is dense and names_in(spec) & set(PLAIN_ON_DENSE):
            continue
        beyond = peak_bytes(create_loss(spec), logits.clone().requires_grad_(), target) - matrix
        assert 0 <= beyond < 0.2 * matrix
        with use_kernel("plain"):
            assert peak_bytes(create_loss(spec), logits.clone().requires_grad_(), target) > 1.5 * matrix, (
                "the measurement sees nothing"
            )
