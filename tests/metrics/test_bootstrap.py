"""The paired bootstrap of every metric: each resample against the metric of the drawn samples themselves."""

import math

import numpy as np
import pytest
import torch

from sosr_timm.metrics import bootstrap
from sosr_timm.metrics.bootstrap import drawn_weights, holm, paired_bootstrap, statistics_of
from sosr_timm.metrics.calibration import adaptive_calibration_error
from sosr_timm.metrics.classwise import ClasswiseCalibration
from sosr_timm.metrics.samples import Samples, SampleTable
from sosr_timm.metrics.selective import selective_of
from sosr_timm.metrics.table import MetricTable

CLASSES, COUNT = 7, 90
GENERATOR = torch.Generator().manual_seed(0)
TARGET = torch.randint(CLASSES, (COUNT,), generator=GENERATOR)
# a tenth of the images are the same for the model, so that confidences are tied between right and wrong ones
LOGITS = torch.randn(COUNT, CLASSES, generator=GENERATOR) * 2 + 2 * torch.nn.functional.one_hot(TARGET, CLASSES)
LOGITS[:9] = LOGITS[0]
OTHER = LOGITS + torch.randn(COUNT, CLASSES, generator=GENERATOR)


def samples_of(logits, target=TARGET) -> Samples:
    table = SampleTable(len(logits), CLASSES, keep_logits=True)
    table.update(0, logits, target)
    return table.read()


def direct(logits, target) -> dict[str, float]:
    """Every metric of some samples, by the functions of an evaluation."""
    table, classwise, samples = MetricTable(1), ClasswiseCalibration(CLASSES), samples_of(logits, target)
    table.update(0, logits, target)
    classwise.update(logits, target)
    found = {**table.compute(), "ece_classwise": classwise.compute()}
    found["ece_adaptive"] = adaptive_calibration_error(samples.confidence, samples.correct)
    return found | selective_of(samples.confidence, ~samples.correct)


def test_each_resample_has_the_metrics_of_the_images_drawn():
    statistics = statistics_of(samples_of(LOGITS), "max_softmax")
    for weights in drawn_weights(COUNT, 20, seed=3):
        found = bootstrap._all(statistics, weights)
        for row, times in enumerate(weights.astype(int)):
            index = torch.from_numpy(np.repeat(np.arange(COUNT), times))
            expected = direct(LOGITS[index], TARGET[index])
            for name, values in found.items():
                # equal confidences at an edge of equal mass: the order of the samples decides, and is another one here
                accuracy = 1e-1 if name == "ece_adaptive" else 1e-9
                assert values[row] == pytest.approx(expected[name], abs=accuracy), name
    assert len(found) == 13


def test_adaptive_calibration_is_exact_without_ties():
    statistics = statistics_of(samples_of(OTHER), "max_softmax")
    (weights,) = drawn_weights(COUNT, 10, seed=5)
    for row, times in enumerate(weights.astype(int)):
        index = torch.from_numpy(np.repeat(np.arange(COUNT), times))
        found = bootstrap._all(statistics, weights[row : row + 1])["ece_adaptive"][0]
        assert found == pytest.approx(direct(OTHER[index], TARGET[index])["ece_adaptive"], abs=1e-12)


def test_the_weights_are_draws_with_replacement(monkeypatch):
    whole = np.concatenate(list(drawn_weights(50, 40, seed=1)))
    assert whole.shape == (40, 50) and (whole.sum(axis=1) == 50).all()
    assert abs((whole == 0).mean() - math.exp(-1)) < 0.03
    assert (whole == np.concatenate(list(drawn_weights(50, 40, seed=1)))).all()
    assert (whole != np.concatenate(list(drawn_weights(50, 40, seed=2)))).any()
    monkeypatch.setattr(bootstrap, "VALUES_AT_ONCE", 120)
    assert [len(chunk) for chunk in drawn_weights(50, 5, seed=1)] == [2, 2, 1]


def test_intervals_and_p_values_are_those_of_the_resamples():
    a, b = samples_of(LOGITS), samples_of(OTHER)
    found = paired_bootstrap(*(statistics_of(s, "margin") for s in (a, b)), COUNT, resamples=300, seed=9)
    random, differences = np.random.default_rng(9), []
    for drawn in random.integers(COUNT, size=(300, COUNT)):
        values = [selective_of(s.scores["margin"][drawn], ~s.correct[drawn])["aurc"] for s in (a, b)]
        differences.append(values[1] - values[0])
    aurc, differences = found["aurc"], np.array(differences)
    assert aurc.interval == pytest.approx(np.quantile(differences, [0.025, 0.975]), abs=1e-12)
    tail = min((differences <= 0).sum(), (differences >= 0).sum())
    assert aurc.p_value == pytest.approx(min(1, 2 * (tail + 1) / 301))
    assert aurc.a == pytest.approx(selective_of(a.scores["margin"], ~a.correct)["aurc"], abs=1e-12)


def test_the_same_model_twice_is_no_difference_and_a_much_better_one_is():
    a = statistics_of(samples_of(LOGITS), "max_softmax")
    for one in paired_bootstrap(a, a, COUNT, resamples=50).values():
        assert one.interval == (0.0, 0.0) and one.p_value == 1.0
    perfect = statistics_of(samples_of(20.0 * torch.nn.functional.one_hot(TARGET, CLASSES)), "max_softmax")
    better = paired_bootstrap(a, perfect, COUNT, resamples=199)
    assert "auroc" not in better, "a model without errors has none"
    assert better["loss"].p_value == better["aurc"].p_value == 2 / 200 and better["loss"].interval[1] < 0


def test_what_a_file_lacks_is_left_out():
    whole = samples_of(LOGITS)
    old = Samples(whole.target, whole.guesses, whole.probabilities)
    new, without = (statistics_of(s, "margin") for s in (whole, old))
    names = set(paired_bootstrap(new, without, COUNT, resamples=2))
    assert names == {"top1", "top5", "ece", "ece_adaptive"}
    assert "aurc" in paired_bootstrap(new, statistics_of(old, "max_softmax"), COUNT, resamples=2)


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == [1.0, 1.0] and holm([]) == [] and holm([0.2]) == [0.2]
