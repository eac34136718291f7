"""What a comparison shows and what it cannot show, in plain sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sosr_timm.comparison.plan import Plan
from sosr_timm.comparison.result import COMPLETE, DROPPED, FAILED, NOT_SELECTED, QUALITY, RUNNING
from sosr_timm.comparison.statistics import LEVEL
from sosr_timm.metrics.titles import Title
from sosr_timm.text import counted

MAIN = "last"  # nothing was selected to get it


def summary_of(content: Mapping[str, Any]) -> list[str]:
    """A sentence for each metric of the last epoch, and one for what is missing.

    Args:
        content: of comparison.json.
    """
    by_status = {
        status: [one for one in content["losses"] if one["status"] == status]
        for status in (COMPLETE, RUNNING, FAILED, DROPPED, NOT_SELECTED)
    }
    sentences = []
    for one in by_status[FAILED]:
        sentences.append(f"{one['loss']} failed ({one['reason']}) and is not compared.")
    if by_status[RUNNING]:
        names = listed([one["loss"] for one in by_status[RUNNING]])
        sentences.append(f"Runs of {names} are missing: everything below is provisional.")
    losses = [one for one in content["losses"] if one["status"] in (COMPLETE, RUNNING) and one[MAIN]]
    baseline = next((one for one in losses if one["loss"] == content["baseline"]), None)
    if baseline is None:
        return [*sentences, f"The baseline {content['baseline']} has no runs to compare with."]
    others = [one for one in losses if one is not baseline]
    if not others:
        return [*sentences, f"No other loss has runs to compare with {content['baseline']}."]
    if min(len({*one["seeds"]} & {*baseline["seeds"]}) for one in others) < 2:
        return [*sentences, "With one seed nothing can be concluded: chance cannot be told from the losses."]
    sentences += [about(name, title, losses, content) for name, title in QUALITY.items()]
    same = [one["loss"] for one in others if never_differs(one)]
    if same:
        sentences.append(f"{listed(same)} gave the same values as {content['baseline']} in every run.")
    return [sentence for sentence in sentences if sentence]


def never_differs(one: Mapping[str, Any]) -> bool:
    """Whether a loss has the baseline's value of every metric with every seed."""
    differences = [one[MAIN].get(name, {}).get("difference") for name in QUALITY]
    known = [found for found in differences if found]
    return bool(known) and all(found["mean"] == 0 and not found["half_width"] for found in known)


def about(name: str, title: Title, losses: Sequence[Mapping[str, Any]], content: Mapping[str, Any]) -> str:
    """The sentence of one metric."""
    baseline = content["baseline"]
    found = {one["loss"]: one[MAIN][name] for one in losses if name in one[MAIN]}
    others = {loss: values["difference"] for loss, values in found.items() if "difference" in values}
    if not others:
        return ""
    sign = 1 if title.lower_is_better else -1
    sure = {loss: one for loss, one in others.items() if one["p_holm"] is not None and one["p_holm"] < LEVEL}
    gain = {loss: -sign * one["mean"] for loss, one in sure.items()}
    better = sorted((loss for loss in sure if gain[loss] > 0), key=lambda loss: -gain[loss])
    worse = [loss for loss in sure if gain[loss] < 0]
    parts = []
    if better:
        best = min(found, key=lambda loss: sign * found[loss]["mean"])
        if best == better[0]:
            extreme = "lowest" if title.lower_is_better else "highest"
            effect = difference(title, sure[best])
            parts.append(f"{best} has the {extreme} {title.heading} ({effect} against {baseline})")
            better = better[1:]
        if better:
            parts.append(f"better than {baseline}: {effects(title, sure, better)}")
    if worse:
        parts.append(f"worse than {baseline}: {effects(title, sure, worse)}")
    rest = [loss for loss, one in others.items() if loss not in sure and (one["mean"] or one["half_width"])]
    limit = content["detectable"][MAIN].get(name)
    seeds = min(values["n"] for values in others.values())
    if rest and limit is not None:
        # A loss that varies more than the others may differ by more than the limit, and still by chance.
        wide = [loss for loss in rest if abs(others[loss]["mean"]) >= limit]
        small = [loss for loss in rest if loss not in wide]
        if wide:
            verb = "varies" if len(wide) == 1 else "vary"
            parts.append(f"{effects(title, others, wide)} {verb} too much from seed to seed to be told from {baseline}")
        if small:
            of_whom = "" if len(small) == len(others) else f" of {listed(small)}"
            noun, verb = ("difference", "is") if len(small) == 1 else ("differences", "are")
            can_show = f"what {counted(seeds, 'seed')} can show (about {title.value(limit)})"
            parts.append(f"the {noun}{of_whom} to {baseline} {verb} below {can_show}")
    return f"{title.full}: {'; '.join(parts)}." if parts else ""


def effects(title: Title, differences: Mapping[str, Mapping[str, Any]], losses: Sequence[str]) -> str:
    return ", ".join(f"{loss} ({difference(title, differences[loss])})" for loss in losses)


def difference(title: Title, values: Mapping[str, Any]) -> str:
    """A difference with half the width of its interval."""
    return f"{values['mean']:+.{title.digits}f} ± {values['half_width']:.{title.digits}f}"


def listed(names: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def notes_of(plan: Plan, content: Mapping[str, Any]) -> list[str]:
    """How the values came about: what was chosen on what, how they were corrected, what is optimistic."""
    compared = [one for one in content["losses"] if one["loss"] != plan.baseline and one[MAIN]]
    notes = [
        "Paired seeds: with the same seed every loss starts from the same weights and sees the same images in the same "
        "order with the same augmentation. Differences are means over common seeds with a paired t-test.",
        f"± is half the width of a 95 % interval by Student's t. P-values are corrected by Holm's method over "
        f"{counted(len(compared), 'loss', 'losses')}, separately for each metric; intervals are not.",
        f"A difference that seeds can show: found with a probability of 80 % by a test at {LEVEL:g}, corrected.",
    ]
    if plan.select_on is None:
        notes += [
            "Last epoch: nothing was selected. Best epoch: the best by "
            f"{plan.select_by} on the images that the tables are about, so it is optimistic.",
            "Temperature: each half of the evaluation images is scaled by the temperature that is fitted on the other "
            "half: on evaluation images, but never on those that it scales.",
        ]
        grids = sorted({one.grid for one in plan.losses if one.grid})
        if grids:
            notes.append(
                f"Nothing was selected from {listed(grids)}: all values are shown, and all are corrected for. "
                "Choosing one by its row here is optimistic; --select-on chooses on held-out images."
            )
    else:
        held_out = f"{plan.data['evaluation_images']:,} images held out of the training images"
        notes += [
            f"Selected on {held_out}, by {plan.select_by}: the best epoch, and the values of each --grid (highest mean "
            "over seeds of the last epoch). The test images were evaluated once, after that, for what is shown.",
            f"Temperature: fitted on the {held_out}.",
            "Runs trained without the held-out images and were not trained again with them.",
        ]
    if plan.early_stop_losers:
        notes.append(
            "Losses were dropped by successive halving on the held-out images: after a quarter and half of the epochs "
            "the worse half ended. Dropped losses are in no average; the others were chosen, so a dropped loss may "
            "have ended better than it looked."
        )
    for one in content["losses"]:
        if one["status"] in (DROPPED, NOT_SELECTED):
            notes.append(f"{one['loss']}: {one['status']}, {one['reason']}.")
    return notes
