"""Selective classification: values by hand, slow loops over every order of ties, and the papers' identities."""

import itertools
import math

import numpy as np
import pytest
import torch

from sosr_timm.metrics.confidence import CONFIDENCES, confidences, normalized_max_logit
from sosr_timm.metrics.samples import SampleTable
from sosr_timm.metrics.selective import (
    Ranking,
    accepted,
    augrc,
    aurc,
    auroc,
    best_aurc,
    risk_at,
    selective_classification,
    selective_of,
)

RANDOM = np.random.default_rng(0)


def slow(confidence, wrong) -> dict[str, float]:
    """Every metric of one order of the samples, from its definition."""
    order = sorted(range(len(wrong)), key=lambda index: -confidence[index])
    count, errors, risks, area, last = len(wrong), 0, [], 0.0, 0.0
    for number, index in enumerate(order, start=1):
        errors += wrong[index]
        risks.append(errors / number)
        area += (last + errors / count) / 2 / count
        last = errors / count
    found = {"aurc": sum(risks) / count, "augrc": area}
    for percent in (80, 90, 95):
        found[f"risk_at_{percent}"] = risks[math.ceil(percent * count / 100) - 1]
    return found


def slow_with_ties(confidence, wrong) -> dict[str, float]:
    """The mean of `slow` over all orders of the data set, so over all orders of every group of ties."""
    found = [
        slow([confidence[index] for index in order], [wrong[index] for index in order])
        for order in itertools.permutations(range(len(wrong)))
    ]
    return {name: math.fsum(one[name] for one in found) / len(found) for name in found[0]}


def test_by_hand():
    confidence, wrong = np.array([0.9, 0.8, 0.7, 0.6]), np.array([False, True, False, True])
    found = selective_of(confidence, wrong)
    assert found["aurc"] == pytest.approx((0 + 1 / 2 + 1 / 3 + 2 / 4) / 4)
    assert found["augrc"] == pytest.approx((0.5 * 0 + 0.5 + 1 + 1.5) / 16)
    assert found["e_aurc"] == pytest.approx(found["aurc"] - (1 / 3 + 2 / 4) / 4)
    assert found["auroc"] == 0.75
    assert found["risk_at_80"] == found["risk_at_90"] == found["risk_at_95"] == 0.5
    assert (found["risk"][24], found["risk"][49], found["risk"][74], found["risk"][99]) == (0, 0.5, 1 / 3, 0.5)


def test_ties_are_the_mean_over_their_orders():
    for count in (2, 5, 6):
        confidence, wrong = RANDOM.integers(3, size=count) / 2, RANDOM.random(count) < 0.5
        found = selective_of(confidence, wrong)
        for name, value in slow_with_ties(confidence, wrong).items():
            assert found[name] == pytest.approx(value, rel=1e-12), name


@pytest.mark.parametrize("count", [1, 2, 99, 1000])
def test_without_ties_it_is_the_definition(count):
    confidence, wrong = RANDOM.permutation(count) / count, RANDOM.random(count) < 0.3
    found = selective_of(confidence, wrong)
    for name, value in slow(confidence, wrong).items():
        assert found[name] == pytest.approx(value, rel=1e-12, abs=1e-15), name


def test_the_order_of_the_data_set_changes_no_bit():
    confidence, wrong = RANDOM.integers(20, size=500) / 20, RANDOM.random(500) < 0.3
    expected = selective_of(confidence, wrong)
    for _ in range(3):
        order = RANDOM.permutation(500)
        assert selective_of(confidence[order], wrong[order]) == expected


@pytest.mark.parametrize("levels", [7, 10**6])
def test_augrc_is_the_papers_function_of_auroc_and_accuracy(levels):
    confidence, wrong = RANDOM.integers(levels, size=700), RANDOM.random(700) < 0.25
    ranking, accuracy = Ranking.of(confidence, wrong), 1 - wrong.mean()
    expected = (1 - auroc(ranking)) * accuracy * (1 - accuracy) + (1 - accuracy) ** 2 / 2
    assert augrc(ranking) == pytest.approx(expected, rel=1e-12)


def test_auroc_is_scikit_learns():
    metrics = pytest.importorskip("sklearn.metrics")
    confidence, wrong = RANDOM.integers(30, size=400), RANDOM.random(400) < 0.4
    assert auroc(Ranking.of(confidence, wrong)) == pytest.approx(metrics.roc_auc_score(~wrong, confidence), rel=1e-12)


def test_the_extremes():
    confidence = np.linspace(1, 0, 50)
    right, none = np.zeros(50, dtype=bool), np.ones(50, dtype=bool)
    perfect = selective_of(confidence, right)
    assert perfect["aurc"] == perfect["augrc"] == perfect["e_aurc"] == perfect["risk_at_80"] == 0
    assert perfect["auroc"] is None and selective_of(confidence, none)["auroc"] is None
    assert selective_of(confidence, none)["aurc"] == 1 and selective_of(confidence, none)["augrc"] == 0.5
    last = confidence < 0.2
    ranked = Ranking.of(confidence, last)
    assert aurc(ranked) == pytest.approx(best_aurc(50, int(last.sum())), rel=1e-14)
    assert auroc(ranked) == 1 and risk_at(ranked, 0.8) == 0 and risk_at(ranked, 1.0) == last.mean()
    equal = Ranking.of(np.ones(50), last)
    assert aurc(equal) == pytest.approx(last.mean()) and auroc(equal) == 0.5
    with pytest.raises(ValueError, match="no samples"):
        Ranking.of(np.array([]), np.array([], dtype=bool))


def test_a_coverage_takes_the_fewest_samples_that_are_enough():
    assert [accepted(0.8, count) for count in (1, 4, 5, 10, 11, 1000)] == [1, 4, 4, 8, 9, 800]
    assert accepted(0.95, 20) == 19 and accepted(0.01, 10) == 1
    assert all(
        accepted(point / 100, 100 * number) == point * number for number in (1, 7, 500) for point in range(1, 101)
    )


def test_confidences_by_hand():
    logits = torch.tensor([[2.0, 0.0, -2.0], [0.0, 0.0, 0.0], [1e4, -1e4, 0.0]], dtype=torch.float64)
    found = confidences(logits, p=4.0)
    p = [math.exp(value) / (math.exp(2) + 1 + math.exp(-2)) for value in (2, 0, -2)]
    assert found["max_softmax"].tolist() == pytest.approx([p[0], 1 / 3, 1])
    assert found["max_logit"].tolist() == [2, 0, 1e4]
    assert found["margin"].tolist() == pytest.approx([p[0] - p[1], 0, 1])
    assert found["entropy"].tolist() == pytest.approx([sum(q * math.log(q) for q in p), -math.log(3), 0])
    assert found["energy"].tolist() == pytest.approx([math.log(math.exp(2) + 1 + math.exp(-2)), math.log(3), 1e4])
    assert found["p_norm"].tolist() == pytest.approx([2 / 32**0.25, 0, 1 / 2**0.25])
    assert set(CONFIDENCES) | {"energy"} == set(found)


@pytest.mark.parametrize("p", [0.5, 1.0, 2.0, 5.0, 60.0, math.inf])
def test_the_p_norm_is_that_of_the_centred_logits(p):
    logits = torch.randn(20, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) * 300 + 7
    for row, value in zip(logits.tolist(), normalized_max_logit(logits, p).tolist(), strict=True):
        centred = [logit - math.fsum(row) / 9 for logit in row]
        largest = max(map(abs, centred))
        norm = largest if p == math.inf else largest * math.fsum(abs(c / largest) ** p for c in centred) ** (1 / p)
        assert value == pytest.approx(max(centred) / norm, rel=1e-12)
    moved = normalized_max_logit(2.5 * logits - 3, p)
    torch.testing.assert_close(moved, normalized_max_logit(logits, p))


def test_classes_that_may_not_be_guessed_are_left_out():
    logits = torch.tensor([[1.0, 3.0, -1.0]], dtype=torch.float64)
    wider = torch.tensor([[1.0, -torch.inf, 3.0, -1.0]], dtype=torch.float64)
    few, many = confidences(logits), confidences(wider)
    assert all(few[name].item() == pytest.approx(many[name].item(), rel=1e-14) for name in few)


def test_every_confidence_of_an_evaluation():
    generator = torch.Generator().manual_seed(2)
    logits, target = torch.randn(60, 8, generator=generator) * 2, torch.randint(8, (60,), generator=generator)
    table = SampleTable(60, 8)
    table.update(0, logits, target)
    found = selective_classification(table.read(), 5.0)
    assert list(found) == ["coverage", *CONFIDENCES] and found["p_norm"]["p"] == 5.0
    wrong = (logits.argmax(dim=1) != target).numpy()
    for name, values in confidences(logits.double()).items():
        if name in found:
            assert found[name]["aurc"] == pytest.approx(slow(values.tolist(), wrong)["aurc"], rel=1e-9), name
            assert found[name]["risk"][-1] == pytest.approx(wrong.mean()) and len(found[name]["risk"]) == 100
