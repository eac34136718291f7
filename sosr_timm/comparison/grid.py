"""`--grid "sosr(beta=0.1,0.5,2.0)"`: several values for a keyword of a loss, and the losses that they make."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from sosr_timm.errors import UserError

OPEN, CLOSE, QUOTES = "([{", ")]}", "'\""
MOST_LOSSES = 1000


def expand(text: str) -> list[str]:
    """The losses of a grid: one for each combination of its values, the last keyword fastest.

    Args:
        text: a loss in which a keyword may have several values with commas: `ols+sosr(threshold=0.9,0.99, beta=0.1,1)`.

    Raises:
        UserError: unbalanced brackets, a value before any keyword, no keyword with several values, or more than
            `MOST_LOSSES` combinations.
    """
    terms = []
    for term in split(text, "+"):
        name, bracket, rest = term.strip().partition("(")
        if not bracket:
            terms.append([name])
            continue
        if not rest.endswith(")"):
            raise UserError(f"--grid {text}: '{term.strip()}' is not name(keyword=value, value, ...)")
        keywords = keywords_of(text, rest[:-1])
        choices = itertools.product(*([f"{keyword}={value}" for value in values] for keyword, values in keywords))
        terms.append([f"{name}({', '.join(chosen)})" for chosen in itertools.islice(choices, MOST_LOSSES + 1)])
    count = 1
    for choices_of_term in terms:
        count *= len(choices_of_term)
    if count == 1:
        raise UserError(f"--grid {text}: no keyword has several values; write it as one of --losses")
    if count > MOST_LOSSES:
        raise UserError(f"--grid {text}: more than {MOST_LOSSES:,} losses")
    return ["+".join(chosen) for chosen in itertools.product(*terms)]


def keywords_of(text: str, inside: str) -> list[tuple[str, list[str]]]:
    """The keywords in a term's brackets with the values of each."""
    keywords: list[tuple[str, list[str]]] = []
    for part in split(inside, ","):
        keyword, equals, value = part.partition("=")
        if equals and keyword.strip().isidentifier():
            keywords.append((keyword.strip(), [value.strip()]))
        elif keywords:
            keywords[-1][1].append(part.strip())
        else:
            raise UserError(f"--grid {text}: '{part.strip()}' has no keyword: write keyword=value, value, ...")
    for keyword, values in keywords:
        if "" in values:
            raise UserError(f"--grid {text}: '{keyword}' has an empty value")
    return keywords


def split(text: str, separator: str) -> Iterator[str]:
    """The parts between separators that are in no brackets and in no quotes.

    Raises:
        UserError: a bracket or a quote is not closed.
    """
    depth, quote, start = 0, "", 0
    for place, character in enumerate(text):
        if quote:
            quote = "" if character == quote else quote
        elif character in QUOTES:
            quote = character
        elif character in OPEN:
            depth += 1
        elif character in CLOSE:
            depth -= 1
        elif character == separator and depth == 0 and not exponent(text, place):
            yield text[start:place]
            start = place + 1
        if depth < 0:
            break
    if depth or quote:
        raise UserError(f"--grid {text}: a bracket or a quote is not closed")
    yield text[start:]


def exponent(text: str, place: int) -> bool:
    """Whether the sign at a place is that of a number's exponent, as in 1e+3."""
    return text[place - 1 : place].lower() == "e" and text[place - 2 : place - 1].isdigit()
