"""docs/glyphs.md has the stored values."""

import numpy as np

from sosr_timm.data.sources.source import ArraySource, SourceInfo
from tools.glyphs_page import PAGE, PICTURE, code, nearest_labels, page


def test_the_page_has_the_stored_values():
    assert page() == PAGE.read_text(encoding="utf-8"), "run: python -m tools.glyphs_page"
    assert PICTURE.is_file()


def test_the_nearest_neighbour_is_that_of_a_slow_loop():
    random = np.random.default_rng(0)
    train, test = (
        ArraySource(random.integers(0, 256, (count, 4, 4), dtype=np.uint8), np.arange(count) % 7, SourceInfo(7), "x")
        for count in (60, 30)
    )
    expected = []
    for picture in test.images.astype(int):
        expected.append(train.labels[min(range(60), key=lambda place: ((train.images[place] - picture) ** 2).sum())])
    assert nearest_labels(train, test).tolist() == expected


def test_characters_are_shown_as_they_are():
    assert code("I|") == "`I |`" and code("`'") == "`` ` ' ``"
