"""Slow versions of every loss: loops in float64 straight from the formulas, sharing no code with the package.

Logits are (M, K) arrays. A target is (M,) integers or (M, K) floats as timm's Mixup makes them. Each function gives the
value and its gradient with respect to the logits, written down by hand from the formula.
"""

import math

import numpy as np


def softmax(row):
    top = max(row)
    shifted = [math.exp(z - top) for z in row]
    return [value / sum(shifted) for value in shifted]


def log_softmax(row):
    top = max(row)
    return [z - top - math.log(sum(math.exp(other - top) for other in row)) for z in row]


def distribution(label, classes, smoothing=0.0):
    """The target of one row: a dense row as it is, an index as (1 - s) * onehot + s / K."""
    if np.ndim(label) == 1:
        return [float(value) for value in label]
    return [(1 - smoothing if k == label else 0.0) + smoothing / classes for k in range(classes)]


def label_set(label, classes, smoothing=0.0):
    """The classes that are labels of one row."""
    if np.ndim(label) == 0:
        return {int(label)}
    return {k for k in range(classes) if (float(label[k]) - smoothing / classes) / (1 - smoothing) > 1e-6}


def cross_entropy(logits, target, smoothing=0.0):
    rows, classes = logits.shape
    value, grad = 0.0, np.zeros((rows, classes))
    for m in range(rows):
        weights = distribution(target[m], classes, smoothing)
        p, log_p = softmax(logits[m]), log_softmax(logits[m])
        for k in range(classes):
            value -= weights[k] * log_p[k] / rows
            grad[m, k] = (sum(weights) * p[k] - weights[k]) / rows
    return value, grad


def sosr(logits, target, threshold=0.99, smoothing=0.0):
    """Penalty with beta 1, its gradient, and which rows have something levelled."""
    rows, classes = logits.shape
    value, grad, selected = 0.0, np.zeros((rows, classes)), np.zeros(rows, dtype=bool)
    for m in range(rows):
        labels = label_set(target[m], classes, smoothing)
        wrong = [k for k in range(classes) if k not in labels]
        p = softmax(logits[m])
        confident = sum(p[k] for k in labels) > threshold
        if len(labels) == 1:
            confident = confident and int(np.argmax(logits[m])) in labels
        if not confident or not wrong:
            continue
        selected[m] = True
        mean = sum(logits[m, k] for k in wrong) / len(wrong)
        for k in wrong:
            value += (logits[m, k] - mean) ** 2 / (rows * classes)
            grad[m, k] = 2 * (logits[m, k] - mean) / (rows * classes)
    return value, grad, selected


def maxsup(logits):
    """Penalty with weight 1."""
    rows, classes = logits.shape
    value, grad = 0.0, np.zeros((rows, classes))
    for m in range(rows):
        top = int(np.argmax(logits[m]))
        value += (logits[m, top] - sum(logits[m]) / classes) / rows
        for k in range(classes):
            grad[m, k] = ((k == top) - 1 / classes) / rows
    return value, grad


def confidence_penalty(logits):
    """Penalty with weight 1."""
    rows, classes = logits.shape
    value, grad = 0.0, np.zeros((rows, classes))
    for m in range(rows):
        p, log_p = softmax(logits[m]), log_softmax(logits[m])
        entropy = -sum(p[k] * log_p[k] for k in range(classes))
        value -= entropy / rows
        for k in range(classes):
            grad[m, k] = p[k] * (log_p[k] + entropy) / rows
    return value, grad


class OnlineLabelSmoothing:
    """OLS with its state: call it batch after batch, `end_epoch` between epochs."""

    def __init__(self, classes, alpha=0.5, init="uniform"):
        self.classes, self.alpha = classes, alpha
        first = {"uniform": 1 / classes, "zeros": 0.0, "smoothing": 0.1 / classes}[init]
        self.soft = [
            [first + (0.9 if init == "smoothing" and j == k else 0.0) for k in range(classes)] for j in range(classes)
        ]
        self.clear()

    def clear(self):
        self.sums = [[0.0] * self.classes for _ in range(self.classes)]
        self.counts = [0] * self.classes

    def __call__(self, logits, target):
        rows, classes = logits.shape
        value, grad = 0.0, np.zeros((rows, classes))
        for m in range(rows):
            p, log_p = softmax(logits[m]), log_softmax(logits[m])
            weights = distribution(target[m], classes)
            labels = label_set(target[m], classes)
            if len(labels) == 1 and int(np.argmax(logits[m])) in labels:
                label = next(iter(labels))
                self.counts[label] += 1
                for k in range(classes):
                    self.sums[label][k] += p[k]
            mixed = [
                self.alpha * weights[k] + (1 - self.alpha) * sum(weights[c] * self.soft[c][k] for c in range(classes))
                for k in range(classes)
            ]
            for k in range(classes):
                value -= mixed[k] * log_p[k] / rows
                grad[m, k] = (sum(mixed) * p[k] - mixed[k]) / rows
        return value, grad

    def end_epoch(self):
        for c in range(self.classes):
            count = self.counts[c]
            self.soft[c] = [self.sums[c][k] / count if count else 1 / self.classes for k in range(self.classes)]
        self.clear()


def numeric_gradient(function, logits, step=1e-6):
    """Central differences of a scalar function of the logits."""
    grad = np.zeros_like(logits)
    for index in np.ndindex(*logits.shape):
        up, down = logits.copy(), logits.copy()
        up[index] += step
        down[index] -= step
        grad[index] = (function(up) - function(down)) / (2 * step)
    return grad
