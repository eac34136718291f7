"""The charts of a page: epochs, over-confidence, reliability, risk over coverage; each with its values as a table."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

from sosr_timm.page.charts import line_chart, reliability_chart, swatch, text
from sosr_timm.page.content import (
    EPOCHS,
    Content,
    Curve,
    Reliability,
    confidence_quantities,
    epoch_curves,
    quantities,
    reliabilities,
    risk_curves,
)
from sosr_timm.page.tables import scrolling

MOST_ROWS = 60  # of a chart's table of values; longer curves are thinned out there


def legend(content: Content) -> str:
    """Which line is whose; the boxes hide lines in all charts."""
    boxes = "".join(
        f'<label><input type="checkbox" checked data-series="{index}">{swatch(index)} '
        f"<bdi>{text(group.label)}</bdi></label>"
        for index, group in enumerate(content.groups)
    )
    explained = (
        '<p class="explained">Lines are means over seeds; bands reach from the lowest to the highest seed.</p>\n'
    )
    return f'{explained}<fieldset class="legend"><legend>Lines</legend>{boxes}</fieldset>\n'


def grid(charts: Iterable[str]) -> str:
    found = "".join(charts)
    return f'<div class="charts">{found}</div>\n' if found else ""


def chart_with_values(name: str, title: str, chart: str, values: str, note: str = "") -> str:
    """A chart with its heading and its values as a table."""
    below = f"<p>{text(note)}</p>" if note else ""
    return (
        f'<figure id="{name}"><figcaption>{text(title)}</figcaption>{chart}{below}'
        f"<details><summary>Values</summary>{scrolling(f'Values: {title}', values)}</details></figure>\n"
    )


def curves_chart(content: Content, name: str, title: str, curves: Sequence[Curve], x_label: str, note: str = "") -> str:
    labels = [group.label for group in content.groups]
    name = identifier(name)
    chart = line_chart(name, title, curves, labels, x_label)
    return chart_with_values(name, title, chart, curves_table(labels, curves, x_label), note)


def identifier(name: str) -> str:
    """A name for id attributes, which are made of letters, digits and hyphens."""
    return "chart-" + "".join(character if character.isascii() and character.isalnum() else "-" for character in name)


def curves_table(labels: Sequence[str], curves: Sequence[Curve], x_label: str) -> str:
    """A row for each place, a column for each group."""
    places = sorted({place for curve in curves for place in curve.x})
    step = math.ceil(len(places) / MOST_ROWS)
    kept = [place for number, place in enumerate(reversed(places)) if number % step == 0][::-1]
    by_curve = [dict(zip(curve.x, curve.mean, strict=True)) for curve in curves]
    head = "".join(f'<th scope="col" class="number">{text(labels[curve.index])}</th>' for curve in curves)
    rows = "".join(
        f'<tr><th scope="row">{place:g}</th>{"".join(plain(found.get(place)) for found in by_curve)}</tr>'
        for place in kept
    )
    thinned = f"<caption>Every {step}th value, means over seeds.</caption>" if step > 1 else ""
    head = f'<thead><tr><th scope="col">{text(x_label)}</th>{head}</tr></thead>'
    return f"<table>{thinned}{head}<tbody>{rows}</tbody></table>"


def plain(value: float | None) -> str:
    return "<td></td>" if value is None else f"<td>{value:.5g}</td>"


def charts_of_epochs(content: Content) -> str:
    found = grid(
        curves_chart(content, quantity.name, quantity.title, curves, "epoch")
        for quantity in quantities(content)
        if (curves := epoch_curves(content, quantity))
    )
    return legend(content) + found if found else ""


def charts_of_confidence(content: Content) -> str:
    return grid(
        curves_chart(content, quantity.name, quantity.title, curves, "epoch")
        for quantity in confidence_quantities(content)
        if (curves := epoch_curves(content, quantity))
    )


def charts_of_reliability(content: Content) -> str:
    """Of the last epoch where it was evaluated, else of the best one; before and after temperature scaling."""
    labels = [group.label for group in content.groups]
    names = {"reliability": "Reliability", "reliability_scaled": "Reliability after temperature scaling"}
    found = []
    for key, words in names.items():
        epoch, curves = first_of(lambda epoch, key=key: reliabilities(content, epoch, key))
        if curves:
            title = f"{words}: accuracy over confidence, {EPOCHS[epoch].lower()}"
            note = "The area of a dot grows with the share of the predictions in its bin, of all seeds together."
            name = identifier(key)
            chart = reliability_chart(name, title, curves, labels)
            found.append(chart_with_values(name, title, chart, bins_table(labels, curves), note))
    return grid(found)


def first_of(make: Callable[[str], list]) -> tuple[str, list]:
    """The first epoch that has something, and what it has."""
    for epoch in EPOCHS:
        found = make(epoch)
        if found:
            return epoch, found
    return "", []


def bins_table(labels: Sequence[str], curves: Sequence[Reliability]) -> str:
    rows = "".join(
        f'<tr><th scope="row">{text(labels[curve.index])}</th>'
        f"<td>{confidence:.4f}</td><td>{accuracy:.4f}</td><td>{100 * share:.2f}</td></tr>"
        for curve in curves
        for confidence, accuracy, share in zip(curve.confidence, curve.accuracy, curve.share, strict=True)
    )
    head = "".join(
        f'<th scope="col" class="number">{words}</th>' for words in ("confidence", "accuracy", "predictions %")
    )
    return f'<table><thead><tr><th scope="col">loss</th>{head}</tr></thead><tbody>{rows}</tbody></table>'


def charts_of_risk(content: Content) -> str:
    epoch, curves = first_of(lambda epoch: risk_curves(content, epoch))
    if not curves:
        return ""
    title = f"Error rate (%) of the most confident predictions over coverage, {EPOCHS[epoch].lower()}"
    return grid([curves_chart(content, "risk-coverage", title, curves, "coverage (%)")])
