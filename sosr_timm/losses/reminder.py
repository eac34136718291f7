"""Calls that a training loop forgets: `end_epoch` for soft labels, `set_progress` for a schedule."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

MANY_BATCHES = 10_000  # a pass of more is rare: ImageNet in batches of 128


class Reminder:
    """Watches the calls of a loss and warns once, for each kind of call, where a loop goes on without it.

    A loss is not told how long a pass over the training data is, so this is a judgement from what it sees, in plain
    numbers that never touch a tensor. `end_epoch` is missed where training goes on

    - and it was never called, after an evaluation, after `train()`, or for more than `MANY_BATCHES` batches;
    - and it was called twice or more, for more than twice the samples of the longest pass so far. The first pass does
      not tell its length: it may have begun in the middle, when a run was resumed.

    `set_progress` is missed at the second training batch. A compiled loss cannot count, since a number that changes
    would compile it again: it only notes that it has trained, which is looked at when it is switched to evaluation.

    Args:
        passes: names of the terms that wait for `end_epoch`.
        schedules: names of the terms that follow `set_progress`.
    """

    def __init__(self, passes: Sequence[str], schedules: Sequence[str]):
        self.passes, self.schedules = tuple(passes), tuple(schedules)
        self.passes_ended = self.longest_pass = 0
        self.start_pass()

    def start_pass(self) -> None:
        self.samples = self.batches = self.batches_since_mark = self.marks = 0
        self.trained = False

    def training_batch(self, samples: int) -> None:
        """A batch of training was seen."""
        self.samples += samples
        self.batches += 1
        self.batches_since_mark += 1
        self.trained = True
        if self.schedules and self.batches > 1:
            self.miss_progress()
        if self.passes:
            self.look_for_end_epoch()

    def look_for_end_epoch(self) -> None:
        if self.passes_ended == 0 and self.marks:
            self.miss_end_epoch("training goes on after an evaluation or a call of train()")
        elif self.passes_ended == 0 and self.batches > MANY_BATCHES:
            self.miss_end_epoch(f"more than {MANY_BATCHES:,} training batches")
        elif self.passes_ended > 1 and self.samples > 2 * self.longest_pass > 0:
            self.miss_end_epoch(f"{self.samples:,} samples in a pass, after passes of at most {self.longest_pass:,}")

    def evaluation(self) -> None:
        """The loss is evaluated: a pass may be over."""
        if not self.trained:
            return
        compiled = self.batches == 0
        if compiled and self.schedules:
            self.miss_progress()
        if compiled and self.passes and self.passes_ended == 0 and self.marks:
            self.miss_end_epoch("training went on after an evaluation")
        self.mark()

    def train_called(self) -> None:
        """`train()` was called: a pass may be over, unless the loop calls it before each batch."""
        if self.batches_since_mark > 1:
            self.mark()
        self.batches_since_mark = 0

    def mark(self) -> None:
        self.marks += 1
        self.batches_since_mark = 0
        self.trained = False

    def end_epoch(self) -> None:
        """`end_epoch` was called."""
        self.passes_ended += 1
        self.longest_pass = max(self.longest_pass, self.samples)
        self.start_pass()

    def progress(self) -> None:
        """`set_progress` was called: nothing more is to be said about schedules."""
        self.schedules = ()

    def miss_end_epoch(self, why: str) -> None:
        called = "was never called" if self.passes_ended == 0 else "was not called"
        warnings.warn(
            f"{' and '.join(self.passes)}: {why}, and end_epoch() {called}, so the soft labels stay as they are. "
            "Call loss.end_epoch() after each pass over the training data. This is said once; it does not matter "
            "if the pass is not over yet",
            stacklevel=2,
        )
        self.passes = ()

    def miss_progress(self) -> None:
        warnings.warn(
            f"{' and '.join(self.schedules)}: set_progress() was never called, so the schedule stays where it starts. "
            "Call loss.set_progress(epoch / (epochs - 1)) before each pass over the training data, with the first "
            "epoch 0. This is said once",
            stacklevel=2,
        )
        self.schedules = ()
