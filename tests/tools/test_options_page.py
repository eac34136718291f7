"""docs/options.md says what the declarations say."""

from sosr_timm.options.fields import options_of
from tools.options_page import PAGE, SECTIONS, page


def test_the_page_is_up_to_date():
    assert PAGE.read_text(encoding="utf-8") == page(), "run: python -m tools.options_page"


def test_every_option_has_one_line():
    _, *sections = page().split("\n## ")
    assert [section.splitlines()[0] for section in sections] == list(SECTIONS)
    for section, groups in zip(sections, SECTIONS.values(), strict=True):
        for option in options_of(groups).values():
            assert section.count(f"\n| `{option.flag}`") == 1, option.flag
