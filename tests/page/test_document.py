"""The HTML, Markdown and CSV of a page: complete, without network, and safe with hostile names."""

import base64
import csv
import hashlib
import io
import re
from html.parser import HTMLParser

import pytest

from sosr_timm.page.charts import Scale, number_text, padded, text
from sosr_timm.page.comparisons import content_of_comparison
from sosr_timm.page.document import document
from sosr_timm.page.export import as_csv, as_markdown, code
from sosr_timm.page.runs import content_of_runs, find_runs
from tests.page.stored import evaluated, stored_run
from tests.page.test_content import COMPARISON

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'`|&\u202e\x00"


class Elements(HTMLParser):
    """The elements of a page with their attributes, and its visible text."""

    def __init__(self, page):
        super().__init__()
        self.found, self.words, self.open = [], [], []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))
        if tag not in ("meta", "link", "input", "br", "polyline", "polygon", "circle", "line"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f"</{tag}> closes something else"

    def handle_data(self, words):
        self.words.append(words)


@pytest.fixture(scope="module")
def page():
    return document(content_of_comparison(COMPARISON))


def test_every_element_is_closed_and_every_identifier_is_unique(page):
    elements = Elements(page)
    assert elements.open == []
    names = [attributes["id"] for _, attributes in elements.found if "id" in attributes]
    assert len(names) == len(set(names))
    for _, attributes in elements.found:
        assert set(attributes.get("aria-labelledby", "").split()) <= set(names)


def test_nothing_is_loaded_from_anywhere(page):
    for _, attributes in Elements(page).found:
        for name in ("src", "href", "srcset", "action", "data", "xlink:href"):
            assert attributes.get(name, "#").startswith(("#", "data:"))
    assert not re.search(r"@import|url\(|https?://", page)
    script = re.search(r"<script>(.*?)</script>", page, re.S)[1]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = next(attributes["content"] for _, attributes in Elements(page).found if "http-equiv" in attributes)
    assert f"script-src 'sha256-{digest}'" in policy and "default-src 'none'" in policy and "connect" not in policy


def test_every_section_is_there(page):
    for title in (
        *("Results", "Training", "Over-confidence during training", "Calibration", "Selective classification"),
        *("Options", "Hardware and versions", "Commands", "How to read this"),
    ):
        assert f">{title}</h2>" in page
    assert page.count("<svg viewBox") == page.count('role="img"') + page.count('class="swatch"') - page.count(
        '<svg class="swatch"'
    )
    assert page.count("<figure") == page.count("<summary>Values</summary>") > 5


def test_hostile_names_stay_text(tmp_path):
    folder = stored_run(tmp_path / "run", "ce", dataset=HOSTILE, model=HOSTILE, note={HOSTILE: HOSTILE})
    other = stored_run(tmp_path / "x", HOSTILE, gain=1.0, **{HOSTILE: 1})
    evaluated(other)
    content = content_of_runs([folder, other], title=HOSTILE)
    elements = Elements(document(content))
    assert [tag for tag, _ in elements.found].count("script") == 1
    assert not any(tag == "img" or "onerror" in attributes for tag, attributes in elements.found)
    words = "".join(elements.words)
    assert "<img src=x onerror=alert(2)>" in words and "\u202e" not in words and "\\u202e" in words and "\\x00" in words


def test_surrogates_and_control_characters_are_spelled_out():
    assert text("a\udcffb") == "a\\udcffb" and text("a\x1bb") == "a\\x1bb" and text("<ü>") == "&lt;ü&gt;"


def test_the_cells_have_the_values_of_the_comparison(page):
    content = content_of_comparison(COMPARISON)
    cells = [
        attributes["data-value"]
        for tag, attributes in Elements(page).found
        if tag == "td" and "data-value" in attributes
    ]
    expected = []
    for epoch in ("last", "best"):
        for group in content.groups:
            values = group.values[epoch]
            shown = [name for name in content.metrics if any(name in one.values[epoch] for one in content.groups)]
            expected += [repr(values[name]["mean"]) for name in shown]
            expected.append(str(max(value["n"] for value in values.values())))
            if epoch == "last":
                expected.append(repr(group.seconds["mean"]))
    assert cells == expected


def test_the_csv_has_every_digit_and_no_formula(tmp_path):
    content = content_of_comparison(COMPARISON)
    rows = list(csv.DictReader(io.StringIO(as_csv(content))))
    by_key = {(row["loss"], row["epoch"], row["metric"]): row for row in rows}
    for group in content.groups:
        for epoch, values in group.values.items():
            for name, value in values.items():
                row = by_key[group.label, epoch, name]
                assert float(row["mean"]) == value["mean"] and int(row["runs"]) == value["n"]
                assert [float(one) for one in row["values"].split()] == list(value["values"].values())
    stored_run(tmp_path / "run", "=1+1")
    formula = io.StringIO(as_csv(content_of_runs(find_runs(tmp_path))))
    assert next(csv.DictReader(formula))["loss"] == "'=1+1"


def test_the_markdown_has_the_tables():
    words = as_markdown(content_of_comparison(COMPARISON))
    assert "## Last epoch" in words and "## Best epoch" in words and "| `ce` | " in words
    assert code("a`b") == "``a`b``" and code("`") == "`` ` ``" and code("") == "`  `"


def test_a_page_without_any_values_says_what_there_is(tmp_path):
    page = document(content_of_runs([stored_run(tmp_path / "run", done=0)]))
    assert (
        "all values are provisional" in page
        and "1 of them not finished" in page
        and '<table class="sortable"' not in page
    )


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0, 1, ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]),
        (0, 10, ["0", "2", "4", "6", "8", "10"]),
        (0, 12, ["0.0", "2.5", "5.0", "7.5", "10.0"]),
    ],
)
def test_ticks_are_round_and_have_the_digits_that_they_need(low, high, ticks):
    found = Scale(low, high, 0, 100).ticks(5)
    assert [number_text(value, found[1] - found[0]) for value in found] == ticks


def test_ranges_are_never_empty_and_keep_their_sign():
    assert padded(0.0, 0.0) == (0.0, 1.0) and padded(3.0, 3.0) == (2.7, 3.3)
    low, high = padded(0.01, 1.0)
    assert low == 0.0 and high > 1.0 and padded(-1.0, 1.0)[0] < -1.0
