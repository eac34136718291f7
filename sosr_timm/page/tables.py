"""The tables of a page: results, options, hardware, commands."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from sosr_timm.metrics.titles import Title
from sosr_timm.page.charts import swatch, text
from sosr_timm.page.content import EPOCHS, Content, Group

HARDWARE = ("gpus", "cpu", "cores", "threads", "cuda", "platform")


def scrolling(label: str, inside: str) -> str:
    """A box of its own that scrolls sideways, so that the page does not; the keyboard reaches it."""
    return f'<div class="scroll" role="region" tabindex="0" aria-label="{text(label)}">{inside}</div>\n'


def tables(content: Content) -> str:
    """A table for the last and one for the best epoch."""
    return "".join(table(content, epoch, title) for epoch, title in EPOCHS.items())


def table(content: Content, epoch: str, title: str) -> str:
    """A row for each group, a column for each metric that any of them has."""
    shown = [name for name in content.metrics if any(name in group.values.get(epoch, {}) for group in content.groups)]
    if not shown:
        return ""
    timed = epoch == "last" and any(group.seconds for group in content.groups)
    headings = [sortable("loss", "text")]
    for name in shown:
        metric = content.metrics[name]
        better = "lower is better" if metric.lower_is_better else "higher is better"
        headings.append(sortable(metric.heading, "number", f"{metric.full or metric.name}; {better}"))
    headings += [sortable("runs", "number"), *([sortable("seconds", "number")] if timed else [])]
    rows = "".join(row(content, index, group, epoch, shown, timed) for index, group in enumerate(content.groups))
    compared = f" Below each mean: the difference to {text(content.baseline)}." if content.baseline else ""
    explained = f"Mean over seeds ± half the width of its 95 % interval.{compared}"
    inside = (
        f'<table class="sortable" id="table-{epoch}" aria-labelledby="{epoch}-h"><thead><tr>{"".join(headings)}</tr>'
        f"</thead><tbody>{rows}</tbody></table>"
    )
    heading = f'<h3 id="{epoch}-h">{title}</h3>\n<p class="explained">{explained}</p>\n'
    return heading + scrolling(f"Table: {title}", inside)


def sortable(heading: str, kind: str, title: str = "") -> str:
    hint = f' title="{text(title)}"' if title else ""
    side = ' class="number"' if kind == "number" else ""
    return f'<th scope="col" data-kind="{kind}"{side}><button type="button"{hint}>{text(heading)}</button></th>'


def row(content: Content, index: int, group: Group, epoch: str, shown: Sequence[str], timed: bool) -> str:
    """The cells of a group; where it has no values, why."""
    status = "" if group.status == "complete" else f"{group.status}: {group.reason}" if group.reason else group.status
    why = f'<small class="state">{text(status)}</small>' if status else ""
    name = f"{swatch(index)} <bdi>{text(group.label)}</bdi>{why}"
    cells = [f'<th scope="row" data-value="{text(group.label)}">{name}</th>']
    values = group.values.get(epoch, {})
    cells += [cell(content.metrics[name], values.get(name)) for name in shown]
    count = max((one["n"] for one in values.values()), default=0)
    cells.append(f'<td data-value="{count}">{count}</td>')
    if timed:
        cells.append(cell(Title("seconds", 0), group.seconds or None))
    return f"<tr>{''.join(cells)}</tr>"


def cell(title: Title, value: dict[str, Any] | None) -> str:
    """A mean with its interval, and below it the difference to the baseline."""
    if not value:
        return '<td data-value=""><span class="none">-</span></td>'
    interval = "" if value["half_width"] is None else f" <span>± {title.value(value['half_width'])}</span>"
    compared = value.get("difference")
    words = f"<small>{text(difference(title, compared))}</small>" if compared else ""
    return f'<td data-value="{value["mean"]!r}">{title.value(value["mean"])}{interval}{words}</td>'


def difference(title: Title, value: dict[str, Any]) -> str:
    """`-0.0123 ± 0.0040, p 0.002`."""
    found = f"{value['mean']:+.{title.digits}f}"
    if value["half_width"] is None:
        return found
    p = value.get("p_holm", value.get("p"))
    return f"{found} ± {value['half_width']:.{title.digits}f}" + ("" if p is None else f", p {p:.2g}")


def options(content: Content) -> str:
    """The options that differ between the groups, then all others, folded."""
    found = ""
    if content.different:
        labels = [group.label for group in content.groups]
        head = "".join(f'<th scope="col">{text(name)}</th>' for name in content.different)
        rows = "".join(
            f'<tr><th scope="row"><bdi>{text(label)}</bdi></th>'
            + "".join(
                f"<td><code>{text(shown(values.get(label)))}</code></td>" for values in content.different.values()
            )
            + "</tr>"
            for label in labels
        )
        head = f'<thead><tr><th scope="col">loss</th>{head}</tr></thead>'
        found += scrolling("Table: options that differ", f'<table class="words">{head}<tbody>{rows}</tbody></table>')
    if content.same:
        rows = "".join(
            f'<tr><th scope="row">{text(name)}</th><td><code>{text(shown(value))}</code></td></tr>'
            for name, value in content.same.items()
        )
        inside = scrolling("Table: options of all runs", f'<table class="words"><tbody>{rows}</tbody></table>')
        found += f"<details><summary>Options of all runs ({len(content.same)})</summary>{inside}</details>\n"
    return found


def shown(value: Any) -> str:
    """An option's value as YAML would have it on one line."""
    return value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)


def hardware(content: Content) -> str:
    """A row for each machine and set of versions, with the number of its runs."""
    machines: dict[str, tuple[dict[str, Any], int]] = {}
    for run in content.runs:
        key = json.dumps(run.environment, sort_keys=True, default=str)
        machines[key] = (run.environment, machines.get(key, ({}, 0))[1] + 1)
    machines = {key: value for key, value in machines.items() if value[0]}
    if not machines:
        return ""
    names = [name for name in HARDWARE if any(found.get(name) for found, _ in machines.values())]
    names += list(dict.fromkeys(name for found, _ in machines.values() for name in found if name not in HARDWARE))
    rows = "".join(
        f'<tr><th scope="row">{text(name)}</th>'
        + "".join(f"<td>{text(words_of(found.get(name)))}</td>" for found, _ in machines.values())
        + "</tr>"
        for name in names
    )
    head = "".join(f'<th scope="col">{count} run{"" if count == 1 else "s"}</th>' for _, count in machines.values())
    return scrolling(
        "Table: hardware and versions",
        f'<table class="words"><thead><tr><td></td>{head}</tr></thead><tbody>{rows}</tbody></table>',
    )


def words_of(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return "none" if value is None else str(value)


def commands(content: Content) -> str:
    """The command line of every run."""
    rows = "".join(
        f'<tr><th scope="row"><bdi>{text(run.group)}</bdi></th><td>{run.seed}</td><td><bdi>{text(run.name)}</bdi></td>'
        f'<td>{text(run.state)}</td><td><code class="command">{text(run.command)}</code></td></tr>'
        for run in content.runs
    )
    head = "".join(f'<th scope="col">{words}</th>' for words in ("loss", "seed", "name", "state", "command"))
    inside = f'<table class="words"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'
    head = f"<summary>The command of each of {len(content.runs)} runs</summary>"
    return f"<details>{head}{scrolling('Table: commands', inside)}</details>\n" if rows else ""
