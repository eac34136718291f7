"""What is chosen where runs failed: a failed loss is worst, and nothing is chosen between failed ones."""

import math

from sosr_timm.comparison.choices import Choices, drop_losers, select_values, shown
from sosr_timm.comparison.plan import Candidate, Plan

GRID = "sosr(beta=0.1,0.5)"
LOSSES = (
    *(Candidate(loss, loss, 2) for loss in ("ce", "ls", "cp")),
    *(Candidate(loss, loss, 2, GRID, listed=False) for loss in ("sosr(beta=0.1)", "sosr(beta=0.5)")),
)
PLAN = Plan("tiny", LOSSES, "ce", 4, "digits", {}, 0.2, "top1", "validation", True, {})


def values(**by_loss):
    """What gives a loss's values by seed; none for a loss that is not named."""
    known = {name.replace("sosr_", "sosr(beta=0.") + (")" if "_" in name else ""): x for name, x in by_loss.items()}
    return lambda one, *rest: known.get(one.loss, {})


def test_a_failed_loss_is_dropped_with_a_reason_in_words():
    found = drop_losers(PLAN, Choices(), 1, values(ls={0: 90.0, 1: 91.0}, sosr_1={0: 80.0, 1: math.nan}))
    assert found.rungs == (1,) and "ls" not in found.dropped and len(found.dropped) == 2
    assert all("(a run failed or gave no number)" in reason for reason in found.dropped.values())


def test_nothing_is_dropped_where_every_loss_failed():
    assert drop_losers(PLAN, Choices(), 1, values()) == Choices()


def test_a_failed_value_of_a_grid_is_not_selected():
    found = select_values(PLAN, Choices(), values(sosr_5={0: 90.0, 1: 91.0}))
    assert found.selected == {GRID: "sosr(beta=0.5)"}
    assert found.not_selected["sosr(beta=0.1)"].startswith("a run failed or gave no number, 90.5")
    assert [one.loss for one in shown(PLAN, found)] == ["ce", "ls", "cp", "sosr(beta=0.5)"]


def test_a_grid_whose_runs_all_failed_is_chosen_from_later_and_not_evaluated_before():
    found = select_values(PLAN, Choices(), values(ls={0: 90.0}))
    assert found == Choices()
    assert [one.loss for one in shown(PLAN, found)] == ["ce", "ls", "cp"]
