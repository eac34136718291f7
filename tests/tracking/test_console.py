"""What a run shows on a terminal of 80 and 120 columns, and what it writes into a file."""

import re
import time

import pytest

from sosr_timm.tracking.bar import Bar
from sosr_timm.tracking.console import Console, show_facts, show_log
from tests.terminal import terminal
from tests.training.harness import SMALL, train_here

BAR = re.compile(r"^epoch \d +\d+%\|(.{10,})\| \d+/\d+")
MEANS = {"loss": 0.8183, "ce": 0.8132, "sosr": 0.005072, "selected": 0.002841}
TIMING = {"images_per_second": 1576.0, "data_wait": 0.02}


@pytest.mark.parametrize("width", [80, 120])
def test_a_run_fits_the_terminal(tmp_path, monkeypatch, width):
    with terminal(monkeypatch, width) as screen:
        assert train_here(*SMALL, "--loss", "sosr", "--model-ema", "--output", tmp_path) == 0
    # What is to be copied is never broken: the folder and the commands that name it.
    assert not [
        piece for piece in screen.pieces if len(piece) > width and str(tmp_path) not in piece and piece[:2] != "--"
    ]
    epochs = [piece for piece in screen.pieces if piece.startswith("epoch 0  train loss")]
    assert len(epochs) == 1 and "top-1" in epochs[0]
    assert any(piece.lstrip().startswith("EMA  top-1") for piece in screen.pieces)
    bars = [match for piece in screen.pieces if (match := BAR.match(piece))]
    assert bars, "the bar has ten columns or more"


def test_a_file_has_one_line_for_an_epoch_whatever_its_width(tmp_path, capsys):
    assert train_here(*SMALL, "--loss", "sosr", "--model-ema", "--output", tmp_path) == 0
    lines = capsys.readouterr().out.splitlines()
    (epoch,) = [line for line in lines if line.startswith("epoch 0  train loss")]
    for title in ("top-1", "top-5", "NLL", "ECE", "Brier"):
        assert epoch.count(f"{title} ") == 2, "of the model and of the EMA"
    assert re.search(r"\d+ s left", epoch)


def intervals(console, updates=22):
    """An interval of the second epoch as it is shown."""
    console.start_epoch(1, updates, 0)
    time.sleep(0.01)
    for _ in range(11):
        console.advance()
    console.interval(1, 11, updates, MEANS, TIMING, 0.0064)
    console.end_epoch()


@pytest.mark.parametrize(
    ("width", "shown", "hidden"),
    [(80, ("0.8183", "left", "images/s"), ("waiting",)), (150, ("waiting", "selected"), ())],
)
def test_the_bar_shows_what_the_terminal_has_room_for(monkeypatch, width, shown, hidden):
    with terminal(monkeypatch, width) as screen:
        intervals(Console(True, 220))
    (last,) = {piece for piece in screen.pieces if "11/22  loss" in piece}
    assert len(last) < width and BAR.match(last)
    assert all(word in last for word in shown) and not any(word in last for word in hidden)


def test_an_interval_in_a_file_holds_everything(capsys):
    show_log(True)
    intervals(Console(True, 220))
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("epoch 1  update 11/22  loss 0.8183 (ce 0.8132 sosr 0.005072 selected 0.002841)  lr 0.0064")
    assert re.search(r"1,576 images/s  waiting for data 2%  \d+ s left$", line)


def test_no_other_process_than_the_main_one_prints(capsys):
    show_log(False)
    intervals(Console(False, 220))
    show_facts({"model": "x"})
    assert capsys.readouterr() == ("", "")


def test_facts_are_broken_between_words_on_a_terminal_and_not_in_a_file(monkeypatch, capsys):
    facts = {"loss": "ce(smoothing=0.0)+sosr(threshold=0.99, beta=0.5) " * 3, "model": "resnet50"}
    show_log(True)
    show_facts(facts)
    assert len(capsys.readouterr().out.splitlines()) == 2
    with terminal(monkeypatch, 80) as screen:
        show_facts(facts)
    assert len(screen.pieces) > 2 and all(len(piece) <= 80 for piece in screen.pieces)
    assert screen.pieces[1].startswith("       "), "below the text of the first line"


def test_a_terminal_that_does_not_know_its_width_is_taken_for_80_columns(monkeypatch):
    with terminal(monkeypatch, 0) as screen:
        intervals(Console(True, 220))
    assert all(len(piece) < 80 for piece in screen.pieces)


def test_the_log_can_leave_standard_output_alone(capsys):
    try:
        show_log(True, to_stderr=True)
        show_facts({"model": "resnet50"})
        assert capsys.readouterr() == ("", "model  resnet50\n")
    finally:
        show_log(True)


def test_a_bar_shows_the_most_important_facts(monkeypatch):
    with terminal(monkeypatch, 40) as screen:
        bar = Bar(5, "model", enabled=True)
        bar.show(["first", "second", "third"])
        bar.close()
    assert any("0/5  first" in piece for piece in screen.pieces) and not any("second" in p for p in screen.pieces)
