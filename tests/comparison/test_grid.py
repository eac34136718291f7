"""Grids of losses: which losses they make, and what is refused."""

import pytest

from sosr_timm.comparison.grid import expand
from sosr_timm.errors import UserError


def test_a_loss_for_each_value():
    assert expand("sosr(beta=0.1,0.5,2.0)") == ["sosr(beta=0.1)", "sosr(beta=0.5)", "sosr(beta=2.0)"]


def test_a_loss_for_each_combination_of_several_keywords_and_terms():
    assert expand("ols+sosr(threshold=0.9, 0.99, beta=1,2)+cp(weight=0.1)") == [
        "ols+sosr(threshold=0.9, beta=1)+cp(weight=0.1)",
        "ols+sosr(threshold=0.9, beta=2)+cp(weight=0.1)",
        "ols+sosr(threshold=0.99, beta=1)+cp(weight=0.1)",
        "ols+sosr(threshold=0.99, beta=2)+cp(weight=0.1)",
    ]


def test_commas_in_lists_and_quotes_and_signs_of_exponents_are_no_separators():
    assert expand("bce(class_weight=[1,2],[3,4])") == ["bce(class_weight=[1,2])", "bce(class_weight=[3,4])"]
    assert expand("ols(init='uniform','a+b')") == ["ols(init='uniform')", "ols(init='a+b')"]
    assert expand("sosr(beta=1e+1,1e-3)") == ["sosr(beta=1e+1)", "sosr(beta=1e-3)"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sosr", "no keyword has several values"),
        ("sosr(beta=0.5)", "no keyword has several values"),
        ("sosr(0.1,0.5)", "'0.1' has no keyword"),
        ("sosr(beta=0.1,,0.5)", "'beta' has an empty value"),
        ("sosr(beta=0.1,0.5", "a bracket or a quote is not closed"),
        ("sosr(beta=0.1,0.5))", "a bracket or a quote is not closed"),
        ("sosr(beta=0.1,0.5)x", "is not name"),
        ("sosr(beta=" + ",".join(map(str, range(2000))) + ")", "more than 1,000 losses"),
    ],
)
def test_what_is_no_grid_is_refused_in_one_line(text, message):
    with pytest.raises(UserError, match=message):
        expand(text)
