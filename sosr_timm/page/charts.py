"""Charts as SVG whose colours come from the page's style sheet, so that both themes fit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from sosr_timm.page.content import Curve, Reliability

WIDTH, HEIGHT = 480, 320
LEFT, RIGHT, TOP, BOTTOM = 58, 12, 12, 44
COLORS = 8  # --c0 ... --c7 of page.css
DASHES = ("", "7 3", "2 3", "9 3 2 3", "14 4", "4 4", "1 4", "9 3 2 3 2 3")


class Scale:
    """A linear map from values to pixels, with round ticks.

    Args:
        low: the least value.
        high: the greatest value.
        start: pixel of `low`.
        end: pixel of `high`.
    """

    def __init__(self, low: float, high: float, start: float, end: float):
        self.low, self.high, self.start, self.end = low, high, start, end

    def __call__(self, value: float) -> float:
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)

    def ticks(self, count: int, whole: bool = False) -> list[float]:
        """About `count` round values in the range."""
        step = round_step((self.high - self.low) / max(1, count), whole)
        first = math.ceil(self.low / step - 1e-9)
        return [number * step for number in range(first, math.floor(self.high / step + 1e-9) + 1)]


def round_step(least: float, whole: bool = False) -> float:
    """The smallest of 1, 2, 2.5, 5 times a power of ten that is at least `least`."""
    power = 10.0 ** math.floor(math.log10(least)) if least > 0 else 1.0
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= least * (1 - 1e-9))
    return max(1.0, math.ceil(step)) if whole else step


def padded(low: float, high: float) -> tuple[float, float]:
    """A range with a little room, which is never empty; values of one sign keep it."""
    room = 0.04 * (high - low) if high > low else abs(high) * 0.1 or 1.0
    return (max(0.0, low - room) if low >= 0 else low - room), high + room


def number_text(value: float, step: float) -> str:
    """A tick's value with the digits that its step needs."""
    digits = next((count for count in range(9) if abs(step * 10**count - round(step * 10**count)) < 1e-6), 9)
    return f"{value:.{digits}f}" if abs(value) < 1e6 else f"{value:.3g}"


def line_chart(name: str, title: str, curves: Sequence[Curve], labels: Sequence[str], x_label: str) -> str:
    """Means as lines, and the range of the seeds as bands.

    Args:
        name: for identifiers, unique in the page.
        title: for those who cannot see it.
        curves: at least one.
        labels: of the groups, by a curve's index.
        x_label: of the horizontal axis.
    """
    xs = [x for curve in curves for x in curve.x]
    ys = [y for curve in curves for values in (curve.low, curve.high) for y in values if math.isfinite(y)]
    low, high = (min(xs), max(xs)) if min(xs) < max(xs) else (min(xs) - 1, max(xs) + 1)
    x = Scale(low, high, LEFT, WIDTH - RIGHT)
    y = Scale(*padded(min(ys, default=0.0), max(ys, default=1.0)), HEIGHT - BOTTOM, TOP)
    parts = [axes(x, y, x_label, whole_x=True)]
    for curve in curves:
        parts.append(drawn_curve(curve, labels[curve.index], x, y))
    return framed(name, title, parts)


def drawn_curve(curve: Curve, label: str, x: Scale, y: Scale) -> str:
    """A band and a line, or a dot where there is one value only."""
    places = [place for place, mean in enumerate(curve.mean) if math.isfinite(mean)]
    points = [(x(curve.x[place]), y(curve.mean[place])) for place in places]
    parts = [f'<g class="{classes(curve.index)}" data-series="{curve.index}"><title>{text(label)}</title>']
    if any(curve.high[place] > curve.low[place] for place in places) and len(places) > 1:
        upper = [(x(curve.x[place]), y(curve.high[place])) for place in places]
        lower = [(x(curve.x[place]), y(curve.low[place])) for place in reversed(places)]
        parts.append(f'<polygon class="band" points="{coordinates([*upper, *lower])}"/>')
    parts.append(f'<polyline points="{coordinates(points)}"{dash(curve.index)}/>')
    if len(points) == 1:
        parts.append(f'<circle cx="{points[0][0]:.1f}" cy="{points[0][1]:.1f}" r="3.5"/>')
    return "".join([*parts, "</g>"])


def reliability_chart(name: str, title: str, curves: Sequence[Reliability], labels: Sequence[str]) -> str:
    """Accuracy over confidence, with a dot for each bin whose area grows with its share of the predictions."""
    x, y = Scale(0, 1, LEFT, WIDTH - RIGHT), Scale(0, 1, HEIGHT - BOTTOM, TOP)
    diagonal = f'<line class="diagonal" x1="{x(0)}" y1="{y(0)}" x2="{x(1)}" y2="{y(1)}"/>'
    parts = [axes(x, y, "confidence"), diagonal]
    for curve in curves:
        points = [(x(one), y(other)) for one, other in zip(curve.confidence, curve.accuracy, strict=True)]
        dots = "".join(
            f'<circle cx="{left:.1f}" cy="{top:.1f}" r="{1.5 + 5 * math.sqrt(share):.1f}"/>'
            for (left, top), share in zip(points, curve.share, strict=True)
        )
        parts.append(
            f'<g class="{classes(curve.index)}" data-series="{curve.index}"><title>{text(labels[curve.index])}</title>'
            f'<polyline points="{coordinates(points)}"{dash(curve.index)}/>{dots}</g>'
        )
    return framed(name, title, parts)


def axes(x: Scale, y: Scale, x_label: str, whole_x: bool = False) -> str:
    """Grid lines, ticks and the label of the horizontal axis; the chart's heading says what the vertical one is."""
    parts = []
    across, upward = x.ticks(6, whole_x), y.ticks(5)
    for value in upward:
        top = y(value)
        parts.append(f'<line class="grid" x1="{LEFT}" y1="{top:.1f}" x2="{WIDTH - RIGHT}" y2="{top:.1f}"/>')
        words = number_text(value, upward[1] - upward[0] if len(upward) > 1 else value)
        parts.append(f'<text class="y" x="{LEFT - 7}" y="{top + 4.5:.1f}">{words}</text>')
    bottom = HEIGHT - BOTTOM
    parts.append(f'<line class="axis" x1="{LEFT}" y1="{bottom}" x2="{WIDTH - RIGHT}" y2="{bottom}"/>')
    for value in across:
        words = number_text(value, across[1] - across[0] if len(across) > 1 else value)
        parts.append(f'<text class="x" x="{x(value):.1f}" y="{bottom + 18}">{words}</text>')
    parts.append(f'<text class="label" x="{(LEFT + WIDTH - RIGHT) / 2:.0f}" y="{HEIGHT - 6}">{text(x_label)}</text>')
    return "".join(parts)


def framed(name: str, title: str, parts: Sequence[str]) -> str:
    """An SVG image with a name for those who cannot see it."""
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-labelledby="{name}-title">'
        f'<title id="{name}-title">{text(title)}</title>{"".join(parts)}</svg>'
    )


def swatch(index: int) -> str:
    """A short line in a group's colour and dashes, for the legend."""
    line = f'<polyline points="0,6 32,6"{dash(index)}/>'
    return f'<svg class="swatch" viewBox="0 0 32 12" aria-hidden="true"><g class="{classes(index)}">{line}</g></svg>'


def classes(index: int) -> str:
    return f"series c{index % COLORS}"


def dash(index: int) -> str:
    """Dashes, so that groups differ without colour too."""
    pattern = DASHES[(index + index // COLORS) % len(DASHES)]
    return f' stroke-dasharray="{pattern}"' if pattern else ""


def coordinates(points: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{left:.1f},{top:.1f}" for left, top in points)


def text(words: str) -> str:
    """Text for HTML and SVG: markup is escaped, and characters that cannot be shown are spelled out."""
    return escape("".join(character if shows(character) else spelled(character) for character in words), quote=True)


def shows(character: str) -> bool:
    """Whether a character is printed as itself; what changes the direction of text is not."""
    return character in "\n\t" or character.isprintable()


def spelled(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
