"""docs/options.md says what the declarations say."""

from sosr_timm.options.fields import options_of
from sosr_timm.options.train import TrainOptions
from sosr_timm.options.validate import ValidateOptions
from tools.options_page import PAGE, page


def test_the_page_is_up_to_date():
    assert PAGE.read_text(encoding="utf-8") == page(), "run: python -m tools.options_page"


def test_every_option_has_one_line():
    training, evaluation = page().split("\n## validate.py\n")
    for text, groups in ((training, TrainOptions), (evaluation, ValidateOptions)):
        for option in options_of(groups).values():
            assert text.count(f"\n| `{option.flag}`") == 1, option.flag
