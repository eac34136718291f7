"""Any target at all: a finite loss and gradient, or one line that says what is wrong."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sosr_timm import create_loss

SPECS = ["ce", "sosr", "ols+sosr", "maxsup", "ce+sosr(threshold=0.3)+maxsup+cp", "bce+sosr"]
SPECS += ["focal", "logitnorm", "relaxation", "tfkd", "margin(margin=1.0)+logit_penalty", "zipf+ls_parts"]
DTYPES = [
    torch.float64,
    torch.float32,
    torch.float16,
    torch.bfloat16,
    torch.int64,
    torch.int32,
    torch.uint8,
    torch.bool,
]
VALUES = st.one_of(st.floats(0, 1), st.sampled_from([0.0, 1.0, 0.5, 1e-7, 1e-6, 0.9]))


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    data=st.data(), spec=st.sampled_from(SPECS), dtype=st.sampled_from(DTYPES), smoothing=st.sampled_from([0.0, 0.1])
)
def test_a_loss_or_one_line(data, spec, dtype, smoothing):
    rows, classes = data.draw(st.integers(0, 5)), data.draw(st.integers(1, 6))
    shape = data.draw(st.sampled_from([(rows,), (rows, classes), (rows, classes + 1), (rows, 1, classes), ()]))
    count = int(torch.Size(shape).numel())
    target = torch.tensor(data.draw(st.lists(VALUES, min_size=count, max_size=count))).reshape(shape).to(dtype)
    logits = torch.randn(rows, classes, generator=torch.Generator().manual_seed(rows + 7 * classes)) * 5
    logits.requires_grad_()
    try:
        loss = create_loss(spec, smoothing, classes if data.draw(st.booleans()) else None)
        value = loss(logits, target)
    except ValueError as error:
        assert "\n" not in str(error) and len(str(error)) < 400
        return
    value.backward()
    assert value.ndim == 0 and value.isfinite()
    assert logits.grad.isfinite().all()
    assert target.shape in ((rows,), (rows, classes)), "a target of the wrong shape was taken without a word"
    assert target.is_floating_point() == (target.ndim == 2)
