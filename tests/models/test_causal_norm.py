"""The causal-norm classifier agrees with loops over its formulas and with values computed by hand."""

import math

import pytest
import timm
import torch

from sosr_timm.models.causal_norm import CausalNormClassifier


def slowly(x, weight, drift, heads, tau, gamma, alpha):
    """The logits of one sample, number by number; `drift` None: in training."""
    width, logits = len(x) // heads, []
    for row in weight:
        total = 0.0
        for head in range(heads):
            part = slice(head * width, (head + 1) * width)
            features, weights = x[part], row[part]
            length = math.sqrt(sum(value * value for value in features))
            direction = [value / length for value in features]
            if drift is not None:
                other = drift[part]
                norm = math.sqrt(sum(value * value for value in other))
                other = [value / norm for value in other]
                cosine = sum(a * b for a, b in zip(direction, other, strict=True))
                direction = [a - alpha * cosine * b for a, b in zip(direction, other, strict=True)]
            shortened = math.sqrt(sum(value * value for value in weights)) + gamma
            total += tau / heads * sum(a * b / shortened for a, b in zip(direction, weights, strict=True))
        logits.append(total)
    return logits


@pytest.mark.parametrize(("width", "classes", "heads"), [(128, 10, 2), (6, 3, 3), (5, 1, 1)])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_loops_over_the_formulas(width, classes, heads, dtype):
    torch.manual_seed(0)
    head = CausalNormClassifier(width, classes, heads, alpha=1.7, dtype=torch.float64)
    batches = torch.randn(3, 7, width, dtype=torch.float64).to(dtype).double()
    drift = torch.zeros(width, dtype=torch.float64)
    for batch in batches:
        drift = 0.9 * drift + batch.mean(dim=0)
    tolerance = {"rtol": 1e-9, "atol": 1e-9} if dtype == torch.float64 else {"rtol": 1e-4, "atol": 1e-4}
    if dtype != torch.float64:
        head = head.float()
    for batch in batches:
        logits = head.train()(batch.to(dtype))
    expected = [slowly(row.tolist(), head.weight.tolist(), None, heads, 16.0, 1 / 32, 1.7) for row in batches[-1]]
    torch.testing.assert_close(logits.double(), torch.tensor(expected, dtype=torch.float64), **tolerance)
    torch.testing.assert_close(head.running_mean.double(), drift, **tolerance)
    logits = head.eval()(batches[0].to(dtype))
    expected = [
        slowly(row.tolist(), head.weight.tolist(), drift.tolist(), heads, 16.0, 1 / 32, 1.7) for row in batches[0]
    ]
    torch.testing.assert_close(logits.double(), torch.tensor(expected, dtype=torch.float64), **tolerance)
    torch.testing.assert_close(head.running_mean.double(), drift, **tolerance)  # an evaluation leaves it


def test_by_hand():
    head = CausalNormClassifier(4, 2, heads=2, tau=4.0, gamma=1.0, alpha=1.0)
    head.weight.data = torch.tensor([[3.0, 4.0, 0.0, 1.0], [0.0, 0.0, 1.0, 0.0]])
    x = torch.tensor([[0.0, 2.0, 5.0, 0.0]])
    # w' = (3, 4)/6 and (0, 1)/2; (0, 0) and (1, 0)/2. x^ = (0, 1) and (1, 0). tau / heads = 2.
    assert head.train()(x).tolist() == [[pytest.approx(2 * 4 / 6), pytest.approx(1.0)]]
    # c^ = x^: nothing is left of the features.
    assert head.eval()(x).tolist() == [[0.0, 0.0]]
    head.running_mean.copy_(torch.tensor([3.0, 3.0, 0.0, 0.0]))  # the second head has no drift
    # x^ - cos c^ = (0, 1) - (1/2, 1/2) = (-1/2, 1/2) in the first head
    assert head(x)[0].tolist() == pytest.approx([2 * (-0.5 * 3 + 0.5 * 4) / 6, 1.0])


def test_gradients():
    torch.manual_seed(0)
    head = CausalNormClassifier(6, 3, heads=2, dtype=torch.float64)
    x = torch.randn(4, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(head.train(), (x,))
    assert torch.autograd.gradcheck(head.eval(), (x,))


def test_features_of_zero_are_finite():
    head = CausalNormClassifier(4, 3)
    assert head.train()(torch.zeros(2, 4)).tolist() == head.eval()(torch.zeros(2, 4)).tolist() == [[0.0] * 3] * 2


def test_the_drift_is_state_and_the_classifier_can_be_replaced():
    model = timm.create_model("cifar_resnet32_causal_norm", blocks=2, num_classes=5, alpha=0.5)
    model.train()(torch.randn(4, 3, 16, 16))
    other = timm.create_model("cifar_resnet32_causal_norm", blocks=2, num_classes=5, alpha=0.5)
    other.load_state_dict(model.state_dict())
    assert model.fc.running_mean.abs().sum() > 0
    assert torch.equal(other.fc.running_mean, model.fc.running_mean)
    model.reset_classifier(3)
    assert isinstance(model.fc, CausalNormClassifier) and (model.fc.alpha, model.fc.out_features) == (0.5, 3)
    model.reset_classifier(0)
    assert isinstance(model.fc, torch.nn.Identity)


def test_features_must_divide_into_heads():
    with pytest.raises(ValueError, match="128 features cannot be cut into 3 heads"):
        timm.create_model("cifar_resnet32_causal_norm", heads=3)
