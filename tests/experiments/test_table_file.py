"""Faults in a table name the file, the line and the nearest valid thing."""

import pytest

from experiments.table_file import read_table
from sosr_timm.errors import UserError
from sosr_timm.runner.settings import recipe_path
from tests.experiments.tables import TINY, write_table


def test_rows_take_over_what_the_table_gives(tmp_path):
    write_table(tmp_path)
    table = read_table("tiny", tmp_path)
    assert [row.title for row in table.rows] == ["cifar_resnet20, ce", "cifar_resnet20, sosr"]
    assert {(row.recipe, row.seeds, row.options["epochs"]) for row in table.rows} == {("digits", 2, 2)}
    assert table.reference_of(table.rows[1]) is table.rows[0]
    assert table.reference_of(table.rows[0]) is None


def test_a_grid_gives_a_row_for_each_combination(tmp_path):
    grid = (
        '- {model: m, method: s, loss: "sosr(threshold={threshold}, beta={beta})", '
        "grid: {threshold: [0.5, 0.9], beta: [1.0, 2.0]}}"
    )
    text = TINY.replace("- {model: cifar_resnet20, method: sosr, loss: sosr}\n", grid).replace("against: ce\n", "")
    write_table(tmp_path, text)
    rows = read_table("tiny", tmp_path).rows[1:]
    assert [row.loss for row in rows] == [
        "sosr(threshold=0.5, beta=1.0)",
        "sosr(threshold=0.5, beta=2.0)",
        "sosr(threshold=0.9, beta=1.0)",
        "sosr(threshold=0.9, beta=2.0)",
    ]
    assert rows[1].key == {"model": "m", "method": "s", "threshold": 0.5, "beta": 2.0}
    assert rows[1].title == "m, s, threshold 0.5, beta 2.0"


@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        (
            "method: sosr, loss: sosr",
            "method: sosr, loss: sosrr",
            10,
            "unknown loss 'sosrr' (column 1): did you mean 'sosr'",
        ),
        ("loss: sosr}", "loss: sosr(beta=a)}", 10, "sosr(beta=...) must be a literal"),
        ("loss: ce}", "los: ce}", 9, "unknown key 'los': did you mean 'loss'"),
        ("loss: ce}", "options: {cutmixx: 1.0}, loss: ce}", 9, "unknown option 'cutmixx': did you mean 'cutmix'"),
        ("loss: ce}", "seeds: two, loss: ce}", 9, "'seeds' takes int, not 'two'"),
        ("loss: ce}", "against: cp, loss: ce}", 9, "no row 'cp' to compare 'cifar_resnet20, ce' with"),
        ("method: sosr,", "method: ce,", 10, "'cifar_resnet20, ce' appears twice"),
        ("metric: top1_best", "published: [sosr_t11]", 2, "unknown published table 'sosr_t11': did you mean 'sosr_t1'"),
        ("metric: top1_best", "published: [sosr_t1]", 9, "'cifar_resnet20, ce' is no row of sosr_t1"),
        ("title: two", "titel: two", 1, "unknown key 'titel': did you mean 'title'"),
        ("loss: ce}", "loss: ce", 10, "not valid YAML"),
    ],
)
def test_a_fault_names_its_line(tmp_path, old, new, line, message):
    assert old in TINY
    path = write_table(tmp_path, TINY.replace(old, new, 1))
    with pytest.raises(UserError) as caught:
        read_table("tiny", tmp_path)
    assert str(caught.value).startswith(f"{path}, line {line}: ")
    assert message in str(caught.value)


def test_an_unknown_recipe_names_its_line(tmp_path):
    path = write_table(tmp_path, TINY.replace("loss: sosr}", "loss: sosr, recipe: cifar100/cifar_resnet65}"))
    table = read_table("tiny", tmp_path)
    with pytest.raises(UserError) as caught:
        recipe_path(table, table.rows[1])
    assert str(caught.value).startswith(f"{path}, line 10: unknown recipe 'cifar100/cifar_resnet65': did you mean")
    assert "'cifar100/cifar_resnet56'" in str(caught.value)


def test_an_unknown_table_names_the_nearest():
    with pytest.raises(UserError, match="unknown table 'sosr_tt1': did you mean 'sosr_t1'"):
        read_table("sosr_tt1")
