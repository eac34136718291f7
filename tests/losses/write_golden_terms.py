"""The golden values of the losses that other papers compare with: python -m tests.losses.write_golden_terms

Loops over decimal numbers of 50 digits, straight from the formulas; every gradient is a central difference in them, so
that nothing is derived by hand. It shares no code with the package or with `oracles.py`.
"""

import json
from decimal import Decimal, getcontext
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

FILE = Path(__file__).resolve().parents[1] / "fixtures" / "loss_terms.safetensors"
STEP = Decimal("1e-15")
getcontext().prec = 50


def softmax(z):
    powers = [(value - max(z)).exp() for value in z]
    return [power / sum(powers) for power in powers]


def weighted(weights, values):
    return sum(weight * value for weight, value in zip(weights, values, strict=True))


def focal(z, t, gamma="3", schedule=None, smoothing="0"):
    values = []
    for p in softmax(z):
        power = Decimal(gamma) if schedule is None else Decimal(5) if p < Decimal("0.2") else Decimal(3)
        values.append(-((1 - p) ** power) * p.ln())
    return weighted(smoothed(t, smoothing), values)


def smoothed(t, smoothing):
    s = Decimal(smoothing)
    return [(1 - s) * weight + s / len(t) for weight in t]


def ce(z, t, smoothing="0"):
    return weighted(smoothed(t, smoothing), [-p.ln() for p in softmax(z)])


def logitnorm(z, t, temperature="0.04", smoothing="0"):
    norm = sum(value**2 for value in z).sqrt() + Decimal("1e-7")
    return ce([value / norm / Decimal(temperature) for value in z], t, smoothing)


def relaxation(z, t, alpha="0.1"):
    p = softmax(z)
    bounds = [weight * (1 - Decimal(alpha)) for weight in t]
    if all(mine >= bound for mine, bound in zip(p, bounds, strict=True)):
        return Decimal(0)
    low, high = Decimal(0), Decimal(1)  # the scale of what is not raised, by bisection
    for _ in range(160):
        scale = (low + high) / 2
        total = sum(max(bound, scale * mine) for mine, bound in zip(p, bounds, strict=True))
        low, high = (low, scale) if total > 1 else (scale, high)
    q = [max(bound, low * mine) for mine, bound in zip(p, bounds, strict=True)]
    return sum(to * (to / mine).ln() for to, mine in zip(q, p, strict=True) if to > 0)


def tfkd(z, t, alpha="0.95", temperature="40", correct="0.99", multiplier="1", form="code"):
    classes, alpha, heat = len(z), Decimal(alpha), Decimal(temperature)
    total = Decimal(0)
    for label, weight in enumerate(t):
        if not weight:
            continue
        teacher = [(1 - Decimal(correct)) / (classes - 1)] * classes
        teacher[label] = Decimal(correct)
        if form == "code":
            teacher, student, share = softmax([value / heat for value in teacher]), softmax(z), Decimal(1) / classes
        else:
            powers = [(value.ln() / heat).exp() for value in teacher]
            teacher, student = [power / sum(powers) for power in powers], softmax([value / heat for value in z])
            share = Decimal(1)
        divergence = sum(mine * (mine / other).ln() for mine, other in zip(teacher, student, strict=True))
        hard = -softmax(z)[label].ln()
        total += weight * ((1 - alpha) * hard + alpha * Decimal(multiplier) * share * divergence)
    return total


def logit_penalty(z, t, weight="0.002"):
    return Decimal(weight) / 2 * sum(value**2 for value in z)


def margin(z, t, margin="10", weight="0.1"):
    return Decimal(weight) * sum(max(max(z) - value - Decimal(margin), Decimal(0)) for value in z) / len(z)


def zipf(z, t, weight="0.1", power="1"):
    label = t.index(1)
    places = {k: sorted(z, reverse=True).index(value) + 1 for k, value in enumerate(z) if k != label}
    law = {k: Decimal(place) ** -Decimal(power) for k, place in places.items()}
    r = dict(zip(places, softmax([z[k] for k in places]), strict=True))
    return Decimal(weight) * sum(law[k] / sum(law.values()) * (law[k] / sum(law.values()) / r[k]).ln() for k in places)


def ls_parts(z, t, part="regularization", weight="0.1"):
    at = z[t.index(1)]
    if part == "regularization":
        others = [value for value in z if value < at]
    elif part == "amplification":
        others = [value for value in z if value > at]
    else:
        others = [max(z)]
    return Decimal(weight) * sum(at - value for value in others) / max(len(others), 1)


# Term, its keywords, and whether it takes mixed targets.
CASES = [
    (ce, {"smoothing": "0.15"}, False),
    (focal, {}, True),
    (focal, {"gamma": "0.5"}, True),
    (focal, {"gamma": "2", "smoothing": "0.1"}, False),
    (focal, {"schedule": 53}, True),
    (logitnorm, {}, True),
    (logitnorm, {"temperature": "0.3", "smoothing": "0.2"}, False),
    (relaxation, {}, True),
    (relaxation, {"alpha": "0.4"}, True),
    (tfkd, {}, True),
    (tfkd, {"alpha": "0.1", "temperature": "20", "multiplier": "100"}, True),
    (tfkd, {"form": "paper", "temperature": "6"}, True),
    (logit_penalty, {}, True),
    (margin, {}, True),
    (margin, {"margin": "2.5", "weight": "0.3"}, True),
    (zipf, {}, False),
    (zipf, {"weight": "1", "power": "0.7"}, False),
    (ls_parts, {}, False),
    (ls_parts, {"part": "amplification"}, False),
    (ls_parts, {"part": "top", "weight": "0.2"}, False),
]
SHAPES = [(1, 2), (6, 3), (5, 10), (3, 40)]


def batch(rows, classes, seed):
    """Logits as float64, every second row predicted right and some with certainty; class indices; mixed targets."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(rows, classes)) * (1 if rows == 1 else 4)
    index = rng.integers(classes, size=rows)
    index[::2] = logits.argmax(axis=1)[::2]
    logits[1::3, :] += 6 * np.eye(classes)[index[1::3]]
    share = rng.uniform(0.2, 0.8, size=(rows, 1)).round(3)
    share[::4] = 1.0
    return logits, index, share * np.eye(classes)[index] + (1 - share) * np.eye(classes)[index[::-1]]


def evaluate(term, keywords, logits, target):
    """Mean over the rows and its gradient."""
    rows, classes = logits.shape
    value, gradient = Decimal(0), np.zeros((rows, classes))
    for m in range(rows):
        z = [Decimal(float(entry)) for entry in logits[m]]
        weights = np.eye(classes)[target[m]] if target.ndim == 1 else target[m]
        t = [Decimal(float(entry)) for entry in weights]
        value += term(z, t, **keywords) / rows
        for k in range(classes):
            up, down = list(z), list(z)
            up[k], down[k] = z[k] + STEP, z[k] - STEP
            gradient[m, k] = (term(up, t, **keywords) - term(down, t, **keywords)) / (2 * STEP * rows)
    return float(value), gradient


def written(term, keywords):
    """The term in the grammar of --loss."""
    values = {key: float(value) if isinstance(value, str) and key not in ("form", "part") else value
              for key, value in keywords.items()}  # fmt: skip
    return f"{term.__name__}({', '.join(f'{key}={value!r}' for key, value in values.items())})"


def golden():
    """Every case: its description, and its arrays by name."""
    for number, (term, keywords, takes_mixed) in enumerate(CASES):
        for shape in SHAPES:
            logits, index, mixed = batch(*shape, seed=number)
            for kind, target in (("index", index), ("mixed", mixed)):
                if kind == "mixed" and not takes_mixed:
                    continue
                value, gradient = evaluate(term, keywords, logits, target)
                name = f"{number:02}_{term.__name__}_{shape[0]}x{shape[1]}_{kind}"
                arrays = {"logits": logits, "target": target, "value": np.array(value), "gradient": gradient}
                yield {"name": name, "loss": written(term, keywords)}, arrays


def main():
    described, stored = [], {}
    for description, arrays in golden():
        described.append(description)
        stored |= {f"{description['name']}.{key}": array for key, array in arrays.items()}
    save_file(stored, FILE, {"index": json.dumps(described)})


if __name__ == "__main__":
    main()
