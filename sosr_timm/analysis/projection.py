"""Penultimate features of three classes in a plane: figures 3 and 4 of the MaxSup paper, after Mueller et al. 2019."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sosr_timm.analysis.collect import Collected, collect
from sosr_timm.analysis.plots import legend_under, plain_axes, square_limits
from sosr_timm.analysis.registry import AnalyzeOptions, Result, analysis
from sosr_timm.analysis.subjects import Subject
from sosr_timm.distributed.processes import Processes
from sosr_timm.errors import UserError
from sosr_timm.extras import import_extra
from sosr_timm.metrics.plots import new_plot, save_plot
from sosr_timm.metrics.risk_plot import COLOURS
from sosr_timm.options.fields import flag
from sosr_timm.options.ranges import AT_LEAST_ONE, NOT_NEGATIVE
from sosr_timm.registry import close_names

CLASSES = 3


@dataclass
class ProjectionOptions:
    classes: tuple[str, ...] = flag(
        (),
        "three classes by name or number; where not given, the class that is misclassified most often by the first "
        "run, and the two that it is taken for",
    )
    plane: str = flag(
        "centroids",
        "the plane of the classes' mean features (as the paper's code), of the classifier's weights of the classes (as "
        "the paper's text), or t-SNE",
        choices=("centroids", "templates", "tsne"),
    )
    per_class: int = flag(80, "at most this many images of a class, drawn at random", allowed=AT_LEAST_ONE)
    draw_seed: int = flag(0, "seed of that draw", allowed=NOT_NEGATIVE)


def centroid_plane(features: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The plane of three class centroids, as MaxSup's code takes it.

    Args:
        features: (N, D) of three classes.
        labels: (N,).

    Returns:
        (D,) origin, the mean of all features, and (2, D) orthonormal basis: the first two right singular vectors of
        the centroids minus their mean.
    """
    centroids = np.stack([features[labels == label].mean(axis=0) for label in np.unique(labels)])
    _, _, right = np.linalg.svd(centroids - centroids.mean(axis=0), full_matrices=False)
    return features.mean(axis=0), right[:2]


def template_plane(templates: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The plane that three class templates, rows of the classifier's weight, intersect (Mueller et al. 2019).

    Args:
        templates: (3, D).

    Returns:
        (D,) origin, the first template, and (2, D) orthonormal basis of the differences to it (Gram-Schmidt).

    Raises:
        ValueError: the templates are on one line.
    """
    first, second = templates[1] - templates[0], templates[2] - templates[0]
    one = first / max(np.linalg.norm(first), np.finfo(np.float64).tiny)
    rest = second - (second @ one) * one
    length = np.linalg.norm(rest)
    if not length > 1e-9 * max(np.linalg.norm(second), np.linalg.norm(first)):
        raise ValueError("the templates of the three classes are on one line")
    return templates[0], np.stack([one, rest / length])


def project(features: np.ndarray, origin: np.ndarray, basis: np.ndarray) -> np.ndarray:
    """(N, 2) coordinates of (N, D) features in a plane: (x - origin) . basis."""
    return (features - origin) @ basis.T


def confused_classes(labels: np.ndarray, guesses: np.ndarray, classes: int) -> list[int]:
    """The class that is misclassified most often, and the two classes that it is taken for most often.

    Ties go to the lower number; classes without an error come after those with one.
    """
    matrix = np.zeros((classes, classes), dtype=np.int64)
    np.add.at(matrix, (labels, guesses), 1)
    np.fill_diagonal(matrix, 0)
    worst = int(matrix.sum(axis=1).argmax())
    present = np.bincount(labels, minlength=classes) > 0
    others = sorted(
        (one for one in range(classes) if one != worst and present[one]), key=lambda k: (-matrix[worst, k], k)
    )
    return [worst, *others[:2]]


def chosen_classes(names: tuple[str, ...], known: tuple[str, ...]) -> list[int]:
    """Class numbers from names or numbers.

    Raises:
        UserError: not three different ones, or one that does not exist.
    """
    found = []
    for name in names:
        if name in known:
            found.append(known.index(name))
        elif name.isdecimal() and int(name) < len(known):
            found.append(int(name))
        else:
            raise UserError(f"--classes {name}: no such class of {len(known)}; {close_names(name, known)}")
    if len(set(found)) != CLASSES:
        raise UserError(f"--classes takes {CLASSES} different classes, not {' '.join(names)}")
    return found


def sample_of(labels: np.ndarray, classes: list[int], count: int, seed: int) -> np.ndarray:
    """Positions of at most `count` images of each class, drawn without repeats, in the order of the classes."""
    rng = np.random.default_rng(seed)
    drawn = []
    for label in classes:
        places = np.flatnonzero(labels == label)
        drawn.append(np.sort(rng.choice(places, min(count, len(places)), replace=False)))
    return np.concatenate(drawn)


@analysis(
    "projection",
    "three classes in the plane of their centroids or templates",
    "MaxSup, figures 3 and 4",
    ProjectionOptions,
)
def projection(subjects: list[Subject], options: AnalyzeOptions, processes: Processes) -> Result:
    """Collect the features of each subject and project those of three classes."""
    panels: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    classes, names, rows, values = None, (), [], []
    for subject in subjects:
        found = collect(subject, processes, features=True)
        if classes is None:
            classes, names = find_classes(found, options.analysis.classes, subject.title), found.class_names
        missing = [label for label in classes if not (found.labels == label).any()]
        if missing:
            raise UserError(f"{subject.title}: the split has no image of class {names[missing[0]]}")
        chosen = sample_of(found.labels, classes, options.analysis.per_class, options.analysis.draw_seed)
        labels = found.labels[chosen]
        points = place_points(found, chosen, classes, options.analysis.plane, subject.title)
        panels[subject.title] = points, labels
        values.append({"run": subject.title, "images": len(chosen), **spread_of(points, labels)})
        for place, (x, y), label in zip(chosen, points, labels, strict=True):
            row = {"run": subject.title, "image": int(place), "class": names[label], "x": float(x), "y": float(y)}
            rows.append(row)
    shown = [names[label] for label in classes]
    record = {"plane": options.analysis.plane, "classes": shown, "values": values}
    return Result(record, rows, {"projection.png": lambda path: draw(path, panels, classes, shown)})


def find_classes(found: Collected, asked: tuple[str, ...], title: str) -> list[int]:
    """The three classes that are asked for, else those that the model confuses.

    Raises:
        UserError: fewer than three classes in the images.
    """
    present = len(np.unique(found.labels))
    if present < CLASSES:
        raise UserError(f"{title}: projection shows {CLASSES} classes, the images have {present}")
    if asked:
        return chosen_classes(asked, found.class_names)
    return confused_classes(found.labels, found.logits.argmax(axis=1), len(found.class_names))


def place_points(found: Collected, chosen: np.ndarray, classes: list[int], plane: str, title: str) -> np.ndarray:
    """(M, 2) coordinates of the chosen images.

    Raises:
        UserError: a classifier without one weight vector for each class, a degenerate plane, or no scikit-learn.
    """
    features, labels = found.features[chosen].astype(np.float64), found.labels[chosen]
    if plane == "tsne":
        manifold = import_extra("sklearn.manifold", "analysis", "--plane tsne")
        nearest = min(30.0, (len(features) - 1) / 3)
        return manifold.TSNE(2, perplexity=nearest, random_state=42).fit_transform(features)
    if plane == "centroids":
        if features.shape[1] < 2:
            raise UserError(f"{title}: features of {features.shape[1]} dimension span no plane")
        return project(features, *centroid_plane(features, labels))
    if found.weight is None or found.weight.shape[1] != features.shape[1]:
        raise UserError(
            f"{title}: the classifier is not one linear layer, so it has no templates; --plane centroids works"
        )
    try:
        return project(features, *template_plane(found.weight[classes].astype(np.float64)))
    except ValueError as error:
        raise UserError(f"{title}: {error}") from None


def spread_of(points: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Root mean square distance of the points to their class's mean, and mean distance between the three means."""
    kinds = np.unique(labels)
    means = np.stack([points[labels == label].mean(axis=0) for label in kinds])
    within = np.sqrt(((points - means[np.searchsorted(kinds, labels)]) ** 2).sum(axis=1).mean())
    pairs = [np.linalg.norm(means[j] - means[k]) for j in range(len(kinds)) for k in range(j)]
    return {"within": float(within), "between": float(np.mean(pairs))}


def draw(path: Path, panels: dict[str, tuple[np.ndarray, np.ndarray]], classes: list[int], names: list[str]) -> None:
    """A panel for each run, all with the same limits; both axes have the same scale."""
    across = min(len(panels), 2)
    down = -(-len(panels) // across)
    figure = new_plot("Penultimate features of three classes", (3.2 * across + 0.6, 3.2 * down + 0.9))
    axes = figure.subplots(down, across, squeeze=False)
    for place, panel in enumerate(axes.flat):
        if place >= len(panels):
            panel.set_visible(False)
            continue
        title, (points, labels) = list(panels.items())[place]
        for number, (label, name) in enumerate(zip(classes, names, strict=True)):
            of_class = points[labels == label]
            marker = {"marker": "osD"[number], "markersize": 4, "linestyle": "none", "alpha": 0.6}
            panel.plot(*of_class.T, color=COLOURS[number], label=name, **marker)
        plain_axes(
            panel,
            "projection 1" if place + across >= len(panels) else "",
            "projection 2" if place % across == 0 else "",
            title,
        )
        square_limits(panel, [placed for placed, _ in panels.values()])
    legend_under(figure)
    save_plot(figure, path)
