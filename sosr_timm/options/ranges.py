"""Which values of its type an option takes: a range of numbers, the form of a text, the items of a list."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True)
class Range:
    """An interval of numbers; an end that is not given is open to infinity.

    Attributes:
        least: lower end, itself in the range.
        most: upper end, itself in the range.
        above: lower end, itself not in the range.
        below: upper end, itself not in the range.
        also: single numbers that are in the range wherever its ends are.
    """

    least: float | None = None
    most: float | None = None
    above: float | None = None
    below: float | None = None
    also: tuple[float, ...] = ()

    def __contains__(self, number: float) -> bool:
        if number in self.also:
            return True
        low = (self.least is None or number >= self.least) and (self.above is None or number > self.above)
        return low and (self.most is None or number <= self.most) and (self.below is None or number < self.below)

    def __str__(self) -> str:
        if self.least is not None and self.most is not None:
            interval = f"from {_written(self.least)} to {_written(self.most)}"
        else:
            ends = {"at least": self.least, "above": self.above, "at most": self.most, "below": self.below}
            interval = " and ".join(f"{word} {_written(end)}" for word, end in ends.items() if end is not None)
        return " or ".join([*map(_written, self.also), interval])


def _written(number: float) -> str:
    return f"{number:,}" if isinstance(number, int) else f"{number:.6g}"


@dataclass(frozen=True)
class Form:
    """Texts of a form.

    Attributes:
        pattern: regular expression that matches such a text from end to end; its digits are those of ASCII.
        words: the form, for messages.
    """

    pattern: str
    words: str

    def __contains__(self, text: str) -> bool:
        return re.fullmatch(self.pattern, text, re.ASCII) is not None

    def __str__(self) -> str:
        return self.words


@dataclass(frozen=True)
class Items:
    """Lists with a number of items, in an order.

    Attributes:
        most: most items; None: any number.
        rising: each item is above the one before it.
        not_falling: each item is at least the one before it.
    """

    most: int | None = None
    rising: bool = False
    not_falling: bool = False

    def __contains__(self, items: Sequence[float]) -> bool:
        if self.most is not None and len(items) > self.most:
            return False
        if self.rising:
            return all(first < second for first, second in pairwise(items))
        return not self.not_falling or all(first <= second for first, second in pairwise(items))

    def __str__(self) -> str:
        count = "values" if self.most is None else f"at most {self.most} values"
        return count + (" in rising order" if self.rising else " that do not fall" if self.not_falling else "")


PROBABILITY = Range(0, 1)
POSITIVE = Range(above=0)
NOT_NEGATIVE = Range(least=0)
AT_LEAST_ONE = Range(least=1)
NOT_EMPTY = Form(r"(?s).*\S.*", "a text that is not empty")

BATCH_SIZE = Range(1, 1_000_000)
MOST_EPOCHS = 100_000
WORKERS = Range(0, 1024)
CLASSES = Range(2, 1_000_000)
CHANNELS = Range(1, 4)  # those of an image: grey, grey with transparency, colour, colour with transparency
LARGEST_IMAGE = 8192
IMAGE_SIDE = Range(1, LARGEST_IMAGE)
CROP_PCT = Range(0.05, 2)  # above 1 the image gets a border; timm publishes weights with up to 1.15
PIXEL_MEAN = PROBABILITY  # of pixels in [0, 1], not in [0, 255]
PIXEL_STD = Range(above=0, most=1)
DROP_RATE = Range(0, below=1)
INTERVAL = Form(r"|0*[1-9]\d*s?", "updates ('500') or seconds ('600s')")
FILE_NAME = Form(r"|\w[\w.=+,@-]{0,199}", "a file name: a letter, a digit or _, then also . = + , @ -")
