"""The results in README.md are the ones stored in results/."""

import math

import pytest

from sosr_timm.results import RunResult, load_results, save_result
from tools.readme_page import BEGIN, END, NONE_YET, README, RESULTS, generated, table, updated


def result(**changes) -> RunResult:
    values = {
        "recipe": "fashion_mnist",
        "dataset": "fashion_mnist",
        "model": "cifar_resnet20",
        "loss": "ce(smoothing=0.0)+sosr(threshold=0.99, beta=0.5)",
        "seed": 42,
        "epochs": 5,
        "best": {"epoch": 3, "top1": 92.345, "loss": 0.25, "ece": 0.01},
        "last": {"epoch": 4, "top1": 92.1, "loss": 0.26, "ece": 0.0123},
        "options_digest": "0" * 16,
        "seconds": 1234.5,
        "processes": 2,
        "command": "train.py",
        "environment": {"cpu": "some CPU", "cores": 4, "gpus": []},
    }
    return RunResult(**{**values, **changes})


def test_the_readme_shows_what_is_stored():
    text = README.read_text(encoding="utf-8")
    assert text == generated(text), "run: python -m tools.readme_page"


def test_every_stored_benchmark_has_its_line():
    text = README.read_text(encoding="utf-8")
    for path in RESULTS.glob("bench_*.json"):
        assert f"(`results/{path.name}`, " in text


def test_a_row_holds_the_metrics_of_its_result(tmp_path):
    save_result(result(), tmp_path)
    *_, row, _, machine = table(load_results(tmp_path)).splitlines()
    assert row == (
        "| cifar_resnet20 | fashion_mnist | `ce(smoothing=0.0)+sosr(threshold=0.99, beta=0.5)` |  | 42 | 5 "
        "| 92.34 | 92.10 | 0.2600 | 0.0123 | 21 |"
    )
    assert machine == "Machine: 2 x some CPU, 4 cores."


def test_gpus_are_named_and_a_missing_metric_is_a_dash():
    run = result(environment={"gpus": ["one GPU", "one GPU"]}, last={"top1": math.nan})
    *_, row, _, machine = table([run]).splitlines()
    assert row.endswith("| 92.34 | - | - | - | 21 |")
    assert machine == "Machine: 2 x one GPU."


def test_rows_are_ordered_whatever_order_the_files_have():
    runs = [result(seed=seed, loss=loss) for loss in ("ce", "sosr") for seed in (0, 1, 10)]
    assert table(runs) == table(runs[::-1])
    assert [line.split(" | ")[2:5:2] for line in table(runs).splitlines()[2:4]] == [["`ce`", "0"], ["`ce`", "1"]]


def test_options_without_a_column_of_their_own_are_shown():
    command = "train.py --config a.yaml --epochs 2 --loss sosr --cutmix 1.0 --workers=3 --no-aug"
    assert "| `--cutmix 1.0 --no-aug` |" in table([result(command=command)])


def test_nothing_stored_is_said():
    assert table([]) == NONE_YET


def test_only_what_stands_between_the_marks_changes():
    assert updated(f"a\n{BEGIN}\nold\n{END}\nb", "new") == f"a\n{BEGIN}\nnew\n{END}\nb"


@pytest.mark.parametrize("text", ["", BEGIN, END, f"{END}{BEGIN}", f"{BEGIN}{END}{BEGIN}{END}"])
def test_marks_that_are_missing_or_doubled_are_an_error(text):
    with pytest.raises(ValueError, match="results:begin"):
        updated(text, "new")
