"""Batches for the kernels, and the comparison with the plain path."""

import torch

from sosr_timm.kernels import use_kernel
from sosr_timm.losses import create_loss
from tests.losses.cases import takes_dense

COUNTING = "ols+sosr(threshold=0.5)+maxsup+cp"
ALL = "ce+sosr(threshold=0.9)+maxsup(start=0.2)+cp(weight=0.2)+logit_penalty(weight=0.1)+margin(margin=2.0)"
SPECS = [
    "ce",
    "ce(smoothing=0.1)+sosr(threshold=0.5)",
    "sosr(threshold=0.3, beta=2.0)",
    "maxsup",
    "cp(weight=0.3)",
    "ols(alpha=0.3)",
    "ce(smoothing=0.1, end=0.3)+sosr(threshold=0.5)",
    "focal",
    "focal(gamma=0.5)+cp",
    "focal(schedule=53)+sosr(threshold=0.4)",
    "relaxation(alpha=0.3)+logit_penalty(weight=0.1)",
    "tfkd(multiplier=20.0)+maxsup",
    "margin(margin=3.0, weight=0.5)+cp",
    "ls_parts+sosr(threshold=0.3)",
    "ls_parts(part='amplification')",
    "ls_parts(part='top')",
    COUNTING,
    ALL,
]
PLAIN_ON_DENSE = ("focal", "relaxation", "tfkd")  # what the kernels have for class indices only
SHAPES = [(1, 2), (3, 3), (257, 10), (3, 100), (257, 1000), (3, 4097)]
TOLERANCE = {torch.float64: 1e-12, torch.float32: 2e-6, torch.bfloat16: 8e-3, torch.float16: 1e-3}


def make_batch(rows, classes, dtype=torch.float32, share=0.5, seed=0, device="cpu"):
    """Logits that are sure of the label in a share of the rows; class indices; dense targets, one in three unmixed."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(rows, classes, generator=generator) * 2
    index = torch.randint(classes, (rows,), generator=generator)
    partner = torch.randint(classes, (rows,), generator=generator)
    partner[::5] = index[::5]
    lam = torch.rand(rows, 1, generator=generator)
    lam[::3] = 1.0
    lam[1::7] = 0.0
    sure = int(share * rows + 0.5)
    logits[torch.arange(sure), index[:sure]] += 25.0
    logits[torch.arange(sure), partner[:sure]] += 24.0 * (torch.arange(sure) % 3 == 1)
    hot = torch.eye(classes)
    dense = lam * hot[index] + (1 - lam) * hot[partner]
    dense = dense.double() if dtype == torch.float64 else dense
    return logits.to(device, dtype), index.to(device), dense.to(device)


def dense_only(spec, *targets):
    """These dense targets, or none of them where the loss is not defined for such."""
    return targets if takes_dense(spec) else ()


def evaluate(kernel, spec, logits, target, factor=1.0, smoothing=0.0, steps=1):
    """Value, gradient, parts and state after some steps with a kernel."""
    with use_kernel(kernel):
        loss = create_loss(spec, smoothing=smoothing)
        for _ in range(steps):
            leaf = logits.clone(memory_format=torch.preserve_format).requires_grad_()
            value = loss(leaf, target)
            (value * factor).backward()
            loss.end_epoch() if steps > 1 else None
    return value.detach(), leaf.grad, loss.parts, loss.state_dict()


def assert_same(kernel, spec, logits, target, factor=1.0, smoothing=0.0, steps=1):
    """A kernel agrees with the plain path, within rounding of the largest entry."""
    tolerance = TOLERANCE[logits.dtype]
    inner = tolerance if logits.dtype == torch.float64 else TOLERANCE[torch.float32]
    value, gradient, parts, state = evaluate(kernel, spec, logits, target, factor, smoothing, steps)
    expected, expected_gradient, expected_parts, expected_state = evaluate(
        "plain", spec, logits, target, factor, smoothing, steps
    )
    assert value.dtype == expected.dtype and gradient.dtype == expected_gradient.dtype
    assert set(parts) == set(expected_parts)
    # Where p is 1 nearly, the difference of p and 1 has the rounding of 1.
    close(value, expected, inner, at_least=1.0)
    close(gradient, expected_gradient, tolerance, at_least=abs(factor) / len(logits))
    for name, part in expected_parts.items():
        assert part.dtype == parts[name].dtype and parts[name].shape == ()
        # A part is a difference of logits, so its rounding is that of the logits.
        close(parts[name], part, inner, at_least=float(logits.abs().max()))
    for name, stored in expected_state.items():
        close(state[name], stored, inner)


def close(result, expected, tolerance, at_least=0.0):
    largest = max(expected.abs().max().item(), at_least, 1e-30)
    assert result.isfinite().all() and (result - expected).abs().max().item() <= tolerance * largest
