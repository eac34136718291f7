"""Every plot has a title and a name for each axis, and no legend covers what is drawn."""

import numpy as np
import pytest

from experiments import plots as of_tables
from sosr_timm.errors import UserError
from sosr_timm.metrics import plots, risk_plot
from sosr_timm.runner.statistics import Mean
from sosr_timm.tracking import curves

HEADER = "epoch,train_loss,train_ce,train_selected,eval_top1,eval_loss,eval_ece,eval_top1_ema,eval_loss_ema,lr\n"
ROWS = "0,2.1,2.0,0.1,50.0,1.5,0.2,40.0,1.7,0.1\n1,1.1,1.0,0.2,,,,,,0.05\n2,0.6,0.5,0.3,80.0,0.7,0.1,85.0,0.6,0.01\n"


@pytest.fixture
def drawn(monkeypatch):
    """The figures that were saved, instead of their files."""
    figures = []
    for module in (plots, risk_plot, of_tables, curves):
        monkeypatch.setattr(module, "save_plot", lambda figure, path: figures.append(figure))
    return figures


def record(counts, correct=0.5):
    """Metrics as an evaluation has them, with these counts in 15 bins."""
    edges = np.arange(16) / 15
    middles = (edges[:-1] + edges[1:]) / 2
    known = [count > 0 for count in counts]
    return {
        "ece": 0.1,
        "top1": 100 * correct,
        "reliability": {
            "edges": list(edges),
            "count": counts,
            "confidence": [float(m) if k else None for m, k in zip(middles, known, strict=True)],
            "accuracy": [correct if k else None for k in known],
        },
    }


def check(figure):
    """A title, named axes, and legends outside of the axes."""
    assert figure.get_suptitle()
    for axes in (axes for axes in figure.axes if axes.get_visible()):
        assert axes.get_legend() is None
        assert axes.get_title() or len(figure.axes) <= 2
    assert figure.axes[0].get_xlabel() or figure.axes[0].get_ylabel()
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def test_reliability_diagrams_mark_bins_with_few_images(drawn):
    counts = [0, 0, 3, 9, 10, 50, 0, 0, 1, 0, 0, 0, 0, 100, 200]
    plots.reliability_plot("x.png", {"model": record(counts), "EMA": record([20] * 15)}, "Reliability of x on y")
    (figure,) = drawn
    legend = check(figure)
    assert legend.count("fewer than 10 images") == 1
    stars = [line for line in figure.axes[0].lines if line.get_marker() == "*"]
    edges = np.arange(16) / 15
    assert np.allclose(np.sort(stars[0].get_xdata()), [(edges[i] + edges[i + 1]) / 2 for i in (2, 3, 8)])
    titles = [axes.get_title() for axes in figure.axes]
    assert titles[0].startswith("model\n") and not any("weights" in title for title in titles)


def test_six_reliability_diagrams_take_two_rows(drawn):
    plots.reliability_plot("x.png", {str(number): record([20] * 15) for number in range(6)}, "x")
    width, height = drawn[0].get_size_inches()
    assert width < 15 and height > 10


def test_a_confusion_matrix_has_a_title(drawn):
    plots.confusion_plot("x.png", np.eye(3, dtype=int), ("cat", "dog", "bird"), "Confusion of x on y")
    check(drawn[0])


def test_plots_of_tables(drawn):
    means = {name: Mean(80.0, 1.0, 3) for name in "abc"}
    of_tables.rows_plot("x.png", "Table 1", means, means, {name: [10.0, 20.0] for name in "abc"}, "top-1 %")
    of_tables.grid_plot("x.png", "Grid", ("p", "beta"), {(0.5, 1): means["a"], (0.9, 1): means["b"]}, None, "top-1 %")
    assert {"best epoch", "a", "b", "c"} <= set(check(drawn[0]))
    assert not check(drawn[1])


def test_the_curves_of_a_run(drawn, tmp_path):
    (tmp_path / "summary.csv").write_text(HEADER + ROWS)
    curves.draw_curves(tmp_path / "summary.csv", tmp_path / "curves.png", "digits-sosr")
    (figure,) = drawn
    assert check(figure) == ["training", "evaluation", "evaluation of the EMA"]
    panels = {axes.get_title(): axes for axes in figure.axes}
    assert {"loss (evaluation: NLL)", "Top-1 accuracy", "over-confident training samples"} < set(panels)
    share = panels["over-confident training samples"].lines[0]
    assert (list(share.get_xdata()), list(share.get_ydata())) == ([0, 1, 2], [0.1, 0.2, 0.3])
    top1 = panels["Top-1 accuracy"].lines[0]
    assert (list(top1.get_xdata()), list(top1.get_ydata())) == ([0, 2], [50.0, 80.0])


def test_the_curves_of_a_run_without_sosr_show_its_calibration(drawn, tmp_path):
    kept = [",".join(line.split(",")[:3] + line.split(",")[4:]) for line in (HEADER + ROWS).splitlines()]
    (tmp_path / "summary.csv").write_text("\n".join(kept))
    curves.draw_curves(tmp_path / "summary.csv", tmp_path / "curves.png", "digits-ce")
    assert "calibration error" in [axes.get_title() for axes in drawn[0].axes]


@pytest.mark.parametrize("text", ["", "no table", "epoch,train_loss\nx,1\n"])
def test_a_damaged_table_is_one_line(tmp_path, text):
    (tmp_path / "summary.csv").write_text(text)
    with pytest.raises(UserError, match=r"summary\.csv"):
        curves.draw_curves(tmp_path / "summary.csv", tmp_path / "curves.png", "x")


def test_the_same_table_gives_the_same_bytes(tmp_path):
    (tmp_path / "summary.csv").write_text(HEADER + ROWS)
    for name in ("a.png", "b.png"):
        curves.draw_curves(tmp_path / "summary.csv", tmp_path / name, "digits-sosr")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_risk_coverage_curves_are_told_apart_without_colour(drawn):
    coverage = [point / 100 for point in range(1, 101)]
    curve = {"coverage": coverage, "risk": [0.3 * c for c in coverage], "aurc": 0.15}
    risk_plot.risk_coverage_plot("x.png", {f"model {number}": curve for number in range(7)}, "Risk of x on y")
    (figure,) = drawn
    assert check(figure) == [f"model {number} (AURC 0.15000)" for number in range(7)]
    left, right = figure.axes
    assert len({line.get_linestyle() + str(line._dash_pattern) for line in left.lines}) == 7
    assert len(left.lines[0].get_xdata()) == 100 and min(right.lines[0].get_xdata()) == 0.8
    risk_plot.risk_coverage_plot("x.png", {"a long name " * 8 + str(number): curve for number in range(3)}, "Risk")
    figure = drawn[-1]
    figure.draw_without_rendering()
    box = figure.legends[0].get_window_extent()
    assert box.x0 >= 0 and box.x1 <= figure.bbox.x1, "names as long as a run's fit"
