"""Divergence from people's labels: loops over the formulas, values by hand, and the command."""

import dataclasses
import math

import numpy as np
import pytest

from sosr_timm.analysis.collect import collect
from sosr_timm.analysis.human import per_class_divergence, per_image_divergence, read_human_labels
from sosr_timm.errors import UserError
from tests.analysis.harness import analyze, refused, rows_of


def distributions(count, classes, seed):
    return np.random.default_rng(seed).dirichlet(np.ones(classes), count)


def divergence(h, p):
    return sum(a * math.log(a / b) for a, b in zip(h, p, strict=True) if a > 0)


def test_loops_over_the_formulas():
    human, p = distributions(60, 4, 0), distributions(60, 4, 1)
    labels = np.random.default_rng(2).integers(4, size=60)
    human[3] = [0, 1, 0, 0]
    right = [i for i in range(60) if max(range(4), key=lambda k: p[i][k]) == labels[i]]
    expected = sum(divergence(human[i], p[i]) for i in right) / len(right)
    assert per_image_divergence(human, p, labels) == (pytest.approx(expected), len(right))
    kl = entropy = 0.0
    for c in range(4):
        people = [i for i in range(60) if max(range(4), key=lambda k: human[i][k]) == c]
        h = [sum(human[i][k] for i in people) / len(people) for k in range(4)]
        own = [i for i in right if labels[i] == c]
        s = [sum(p[i][k] for i in own) / len(own) for k in range(4)]
        kl += divergence(h, s) / 4
        entropy -= sum(a * math.log(b) for a, b in zip(h, s, strict=True)) / 4
    found = per_class_divergence(human, p, labels)
    assert found == {"kl": pytest.approx(kl), "cross_entropy": pytest.approx(entropy), "left_out": []}


def test_by_hand():
    human = np.array([[1.0, 0.0], [0.5, 0.5]])
    p = np.array([[0.8, 0.2], [0.4, 0.6]])
    # The second image is wrong.
    assert per_image_divergence(human, p, np.array([0, 0])) == (pytest.approx(math.log(1 / 0.8)), 1)
    found = per_class_divergence(human, p, np.array([0, 0]))
    # H[0] is the mean of both rows, (0.75, 0.25), because a tie counts for the first class.
    expected = 0.75 * math.log(0.75 / 0.8) + 0.25 * math.log(0.25 / 0.2)
    assert found["kl"] == pytest.approx(expected) and found["left_out"] == [1]
    assert math.isnan(per_image_divergence(human, p, np.array([1, 0]))[0])


def test_the_command(runs, tmp_path):
    np.save(tmp_path / "probs.npy", distributions(40, 10, 0).astype(np.float32))
    arguments = ("--human-labels", tmp_path / "probs.npy", "--with-train")
    record = analyze(tmp_path, "human", runs["ce"], runs["sosr"], *arguments)
    rows = rows_of(tmp_path, "human")
    assert [row["run"] for row in rows] == ["ce", "sosr(threshold=0.2)"]
    assert record["human_labels"] == "probs.npy" and float(rows[0]["kl_per_image"]) > 0
    assert rows[0]["kl_per_class_train"] != rows[0]["kl_per_class"]


def test_a_run_that_is_always_wrong(runs, tmp_path, monkeypatch):
    def wrong(*arguments):
        found = collect(*arguments)
        return dataclasses.replace(found, labels=(found.logits.argmax(axis=1) + 1) % 10)

    np.save(tmp_path / "probs.npy", distributions(40, 10, 0))
    monkeypatch.setattr("sosr_timm.analysis.human.collect", wrong)
    arguments = ("--human-labels", tmp_path / "probs.npy", "--output", tmp_path)
    refused("ce: no correctly classified image", "human", runs["ce"], *arguments)


def test_damaged_files(runs, tmp_path):
    run = runs["ce"]
    path = tmp_path / "probs.npy"
    refused("--human-labels FILE", "human", run)
    refused("no such file", "human", run, "--human-labels", path)
    path.write_bytes(b"\x93NUMPY but not really")
    refused("no NumPy array that can be read", "human", run, "--human-labels", path)
    np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    refused("no NumPy array that can be read", "human", run, "--human-labels", path)
    np.save(path, distributions(40, 9, 0))
    refused("has 40 rows of 9 classes; .* has 40 images of 10 classes", "human", run, "--human-labels", path)
    wrong = distributions(40, 10, 0)
    wrong[7, 0] += 0.5
    np.save(path, wrong)
    refused(r"row 7 is no distribution \(its sum is 1.5\)", "human", run, "--human-labels", path)
    np.save(path, wrong[0])
    with pytest.raises(UserError, match=r"expected an \(N, K\) array of numbers"):
        read_human_labels(str(path))
    np.savez(tmp_path / "probs.npz", wrong)
    with pytest.raises(UserError, match="not several arrays"):
        read_human_labels(str(tmp_path / "probs.npz"))
