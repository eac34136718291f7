"""Slow versions of every loss: loops in float64 straight from the formulas, sharing no code with the package.

Logits are (M, K) arrays. A target is (M,) integers or (M, K) floats as timm's Mixup makes them. Each function gives the
value and its gradient with respect to the logits, written down by hand from the formula.
"""

import itertools
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


def focal(logits, target, gamma=3.0, schedule=None, smoothing=0.0):
    rows, classes = logits.shape
    value, grad = 0.0, np.zeros((rows, classes))
    for m in range(rows):
        weights = distribution(target[m], classes, smoothing)
        p, log_p = softmax(logits[m]), log_softmax(logits[m])
        for k in range(classes):
            power = (5.0 if p[k] < 0.2 else 3.0) if schedule == 53 else gamma
            rest = sum(p[j] for j in range(classes) if j != k)
            if rest == 0.0:
                continue
            value -= weights[k] * rest**power * log_p[k] / rows
            # f(p) = -(1 - p)^g log p has f'(p) p = g (1 - p)^(g - 1) p log p - (1 - p)^g
            slope = power * rest ** (power - 1) * p[k] * log_p[k] - rest**power
            for j in range(classes):
                grad[m, j] += weights[k] * slope * ((j == k) - p[j]) / rows
    return value, grad


def logit_penalty(logits):
    """Penalty with weight 1."""
    rows, classes = logits.shape
    value, grad = 0.0, np.zeros((rows, classes))
    for m in range(rows):
        for k in range(classes):
            value += 0.5 * logits[m, k] ** 2 / rows
            grad[m, k] = logits[m, k] / rows
    return value, grad


def margin(logits, margin=10.0):
    """Penalty with weight 1."""
    rows, classes = logits.shape
    value, grad = 0.0, np.zeros((rows, classes))
    for m in range(rows):
        top = int(np.argmax(logits[m]))
        for k in range(classes):
            beyond = logits[m, top] - logits[m, k] - margin
            if beyond > 0:
                value += beyond / (rows * classes)
                grad[m, top] += 1 / (rows * classes)
                grad[m, k] -= 1 / (rows * classes)
    return value, grad


def logit_normalization(logits, target, temperature=0.04, smoothing=0.0):
    rows, classes = logits.shape
    norms = [math.sqrt(sum(z * z for z in row)) for row in logits]
    scaled = np.array(
        [[z / (temperature * (norm + 1e-7)) for z in row] for row, norm in zip(logits, norms, strict=True)]
    )
    value, inner = cross_entropy(scaled, target, smoothing)
    grad = np.zeros((rows, classes))
    for m in range(rows):
        # z / (norm + e): the derivative has a part along the gradient and one along the logits.
        along = sum(inner[m, k] * logits[m, k] for k in range(classes))
        size = norms[m] + 1e-7
        for k in range(classes):
            grad[m, k] = (inner[m, k] / size - along * logits[m, k] / (norms[m] * size**2)) / temperature
    return value, grad


def label_relaxation(logits, target, alpha=0.1):
    """For class indices, and for mixed ones by trying every set of labels that may have to be raised to its bound."""
    rows, classes = logits.shape
    value, grad = 0.0, np.zeros((rows, classes))
    for m in range(rows):
        p, log_p = softmax(logits[m]), log_softmax(logits[m])
        weights = distribution(target[m], classes)
        bounds = {k: weights[k] * (1 - alpha) for k in label_set(target[m], classes)}
        best, nearest = math.inf, None
        for size in range(len(bounds) + 1):
            for raised in itertools.combinations(bounds, size):
                rest = sum(p[k] for k in range(classes) if k not in raised)
                left = 1 - sum(bounds[k] for k in raised)
                if rest == 0.0:
                    continue
                q = [bounds[k] if k in raised else left * p[k] / rest for k in range(classes)]
                if any(q[k] < bounds[k] * (1 - 1e-12) for k in bounds):
                    continue
                divergence = sum(
                    bounds[k] * (math.log(bounds[k]) - log_p[k])
                    if k in raised
                    else q[k] * (math.log(left) - math.log(rest))
                    for k in range(classes)
                )
                if divergence < best:
                    best, nearest = divergence, q
        value += best / rows
        for k in range(classes):
            grad[m, k] = (p[k] - nearest[k]) / rows
    return value, grad


def teacher_free(logits, target, alpha=0.95, temperature=40.0, correct=0.99, multiplier=1.0, form="code"):
    rows, classes = logits.shape
    value, grad = 0.0, np.zeros((rows, classes))
    for m in range(rows):
        weights = distribution(target[m], classes)
        p, log_p = softmax(logits[m]), log_softmax(logits[m])
        heat = 1.0 if form == "code" else temperature
        soft, log_soft = softmax(logits[m] / heat), log_softmax(logits[m] / heat)
        share = alpha * multiplier / (classes if form == "code" else 1)
        for label in range(classes):
            if not weights[label]:
                continue
            teacher = [correct if k == label else (1 - correct) / (classes - 1) for k in range(classes)]
            if form == "code":
                teacher = softmax([t / temperature for t in teacher])
            else:
                teacher = [t ** (1 / temperature) for t in teacher]
                teacher = [t / sum(teacher) for t in teacher]
            value -= weights[label] * (1 - alpha) * log_p[label] / rows
            for k in range(classes):
                value += weights[label] * share * teacher[k] * (math.log(teacher[k]) - log_soft[k]) / rows
                grad[m, k] += weights[label] * (1 - alpha) * (p[k] - (k == label)) / rows
                grad[m, k] += weights[label] * share * (soft[k] - teacher[k]) / heat / rows
    return value, grad


def zipf(logits, target, power=1.0):
    """Penalty with weight 1."""
    rows, classes = logits.shape
    value, grad = 0.0, np.zeros((rows, classes))
    for m in range(rows):
        wrong = [k for k in range(classes) if k != target[m]]
        if not wrong:
            continue
        rank = {k: 1 + sum(logits[m, j] > logits[m, k] for j in range(classes)) for k in wrong}
        q = {k: rank[k] ** -power / sum(rank[j] ** -power for j in wrong) for k in wrong}
        r, log_r = softmax(logits[m, wrong]), log_softmax(logits[m, wrong])
        for place, k in enumerate(wrong):
            value += q[k] * (math.log(q[k]) - log_r[place]) / rows
            grad[m, k] = (r[place] - q[k]) / rows
    return value, grad


def smoothing_part(logits, target, part):
    """Penalty with weight 1."""
    rows, classes = logits.shape
    value, grad = 0.0, np.zeros((rows, classes))
    for m in range(rows):
        label, row = int(target[m]), logits[m]
        if part == "regularization":
            others = [k for k in range(classes) if row[k] < row[label]]
        elif part == "amplification":
            others = [k for k in range(classes) if row[k] > row[label]]
        else:
            others = [int(np.argmax(row))]
        for k in others:
            value += (row[label] - row[k]) / (len(others) * rows)
            grad[m, label] += 1 / (len(others) * rows)
            grad[m, k] -= 1 / (len(others) * rows)
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
