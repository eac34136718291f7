"""Plurals, durations, lines that fit and Markdown tables."""

import io

import pytest

from sosr_timm.text import counted, duration, fitted, markdown_table, width_of


@pytest.mark.parametrize(
    ("number", "words", "text"),
    [
        (1, ("epoch",), "1 epoch"),
        (0, ("epoch",), "0 epochs"),
        (1200, ("image",), "1,200 images"),
        (1, ("class", "classes"), "1 class"),
        (2, ("class", "classes"), "2 classes"),
    ],
)
def test_a_number_brings_its_noun_in_the_right_form(number, words, text):
    assert counted(number, *words) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 s"), (95, "95 s"), (720, "12 min"), (12600, "3.5 h"), (4.2 * 86400, "4.2 days")]
)
def test_durations_in_words(seconds, text):
    assert duration(seconds) == text


ITEMS = ["train loss 0.0123", "top-1 98.61 %", "NLL 0.0489", "ECE 0.0103", "Brier 0.0234", "about 12 min left"]


@pytest.mark.parametrize("width", [40, 80, 120])
def test_a_line_is_broken_between_items_and_never_in_one(width):
    lines = fitted("epoch 14", ITEMS, width).splitlines()
    assert all(len(line) <= width for line in lines)
    assert [item for line in lines for item in line.removeprefix("epoch 14").split("  ") if item] == ITEMS
    assert all(line.startswith(" " * 10) for line in lines[1:])


def test_a_file_gets_one_line_of_any_length():
    assert fitted("epoch 14", ITEMS, None) == "epoch 14  " + "  ".join(ITEMS)
    assert width_of(io.StringIO()) is None


def test_an_item_that_is_wider_than_the_terminal_has_a_line_of_its_own():
    assert fitted("x", ["a" * 30, "b"], 20) == f"x  {'a' * 30}\n   b"


def test_markdown_tables_escape_bars_and_align_numbers():
    text = markdown_table(("name", "value"), [("a|b", "1")], ("value",))
    assert text == "| name | value |\n| --- | ---: |\n| a\\|b | 1 |"
