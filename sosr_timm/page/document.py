"""The page as one HTML file: no network, no framework, readable without JavaScript."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib.resources import files

from sosr_timm.page.chart_parts import charts_of_confidence, charts_of_epochs, charts_of_reliability, charts_of_risk
from sosr_timm.page.charts import text
from sosr_timm.page.content import Content
from sosr_timm.page.export import as_csv, as_markdown
from sosr_timm.page.tables import commands, hardware, options, tables
from sosr_timm.version import __version__

GENERATOR = "sosr-page"


@cache
def asset(name: str) -> str:
    """A file of this package."""
    return files("sosr_timm.page").joinpath(name).read_text(encoding="utf-8")


def document(content: Content, watched: str = "") -> str:
    """The page.

    Args:
        content: of it.
        watched: state of the files, where the page is served by `sosr-page --watch` and asks there for changes.
    """
    style, script = asset("page.css"), asset("page.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    # Nothing is loaded from anywhere, and no other script than ours is run, whatever names the runs have.
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; img-src data:; " + (
        "connect-src 'self'; " if watched else ""
    )
    return (
        "<!doctype html>\n"
        '<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f"<meta http-equiv=\"Content-Security-Policy\" content=\"{policy}base-uri 'none'; form-action 'none'\">\n"
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta name="generator" content="{GENERATOR} {__version__}">\n'
        '<link rel="icon" href="data:,">\n'
        f"<title>{text(content.title)}</title>\n<style>\n{style}</style>\n</head>\n"
        f"<body{f' data-watched={chr(34)}{text(watched)}{chr(34)}' if watched else ''}>\n"
        f'<a class="skip" href="#main">Skip to the tables</a>\n<div id="page">\n{body(content)}</div>\n'
        '<p id="watch" role="status"></p>\n'
        f"<script>{script}</script>\n</body>\n</html>\n"
    )


def body(content: Content) -> str:
    """All that changes when the runs do."""
    sections = [
        ("tables", "Results", tables(content)),
        ("curves", "Training", charts_of_epochs(content)),
        ("confidence", "Over-confidence during training", charts_of_confidence(content)),
        ("calibration", "Calibration", charts_of_reliability(content)),
        ("risk", "Selective classification", charts_of_risk(content)),
        ("options", "Options", options(content)),
        ("hardware", "Hardware and versions", hardware(content)),
        ("commands", "Commands", commands(content)),
        ("notes", "How to read this", notes(content)),
    ]
    shown = [(name, title, inside) for name, title, inside in sections if inside]
    links = "".join(f'<a href="#{name}">{title}</a>' for name, title, _ in shown)
    nav = f'<nav aria-label="Parts of this page">{links}</nav>\n'
    found = "".join(section(*one) for one in shown)
    return f'{header(content)}{nav}<main id="main" tabindex="-1">\n{found}</main>\n{footer()}'


def section(name: str, title: str, inside: str) -> str:
    return f'<section id="{name}" aria-labelledby="{name}-h">\n<h2 id="{name}-h">{title}</h2>\n{inside}</section>\n'


def header(content: Content) -> str:
    provisional = "Runs are under way or missing: all values are provisional."
    state = "" if content.complete else f'<p class="state">{provisional}</p>\n'
    summary = "".join(f"<p>{text(sentence)}</p>\n" for sentence in content.summary)
    facts = "".join(f"<div><dt>{text(name)}</dt><dd>{text(value)}</dd></div>" for name, value in content.facts)
    downloads = "".join(
        f'<a download="{file}" href="data:{kind};base64,{encoded(make(content))}">{label}</a>'
        for file, kind, make, label in (
            ("page.csv", "text/csv", as_csv, "CSV"),
            ("page.md", "text/markdown", as_markdown, "Markdown"),
        )
    )
    return (
        f'<header>\n<div class="bar"><h1>{text(content.title)}</h1>'
        '<div class="tools"><button type="button" id="theme" hidden>Theme: system</button>'
        f'{downloads}</div></div>\n{state}<div class="summary">\n{summary}</div>\n'
        f'<dl class="facts">{facts}</dl>\n</header>\n'
    )


def encoded(words: str) -> str:
    return base64.b64encode(words.encode("utf-8", "backslashreplace")).decode("ascii")


def footer() -> str:
    return f"<footer><p>Made by {GENERATOR} of sosr_timm {__version__}.</p></footer>\n"


def notes(content: Content) -> str:
    found = "".join(f"<li>{text(note)}</li>" for note in content.notes)
    return f"<ul>{found}</ul>\n" if found else ""
