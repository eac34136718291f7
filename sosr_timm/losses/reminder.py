"""Warnings about calls that a training loop forgets: `end_epoch` for soft labels, `set_progress` for schedules."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

MANY_BATCHES = 10_000  # a pass of more is rare: ImageNet in batches of 128


class Reminder:
    """Counts the calls of a loss, and warns once where training continues without `end_epoch` or `set_progress`.

    A loss does not know how long a pass over the training data is, so these are presumptions, made from plain Python
    numbers without a look at any tensor. `end_epoch` is missing where training continues

    - after an evaluation, after a call of `train()` or beyond `MANY_BATCHES` batches, if it was never called;
    - beyond twice the samples of the longest pass, if it was called at least twice. One call does not tell how long a
      pass is: a resumed run may have begun in the middle of the first one.

    `set_progress` is missing at the second training batch. A compiled loss cannot count, because it would be compiled
    again for each new number: it only notes that it has trained, and `evaluation` looks at that.

    Args:
        passes: names of the terms that need `end_epoch`.
        schedules: names of the terms that need `set_progress`.
    """

    def __init__(self, passes: Sequence[str], schedules: Sequence[str]):
        self.passes, self.schedules = tuple(passes), tuple(schedules)
        self.passes_ended = self.longest_pass = 0
        self.start_pass()

    def start_pass(self) -> None:
        """Forget what was counted since the last `end_epoch`."""
        self.samples = self.batches = self.batches_since_mark = self.marks = 0
        self.trained = False

    def training_batch(self, samples: int) -> None:
        """Count a training batch."""
        self.samples += samples
        self.batches += 1
        self.batches_since_mark += 1
        self.trained = True
        if self.schedules and self.batches > 1:
            self.miss_progress()
        if self.passes:
            self.look_for_end_epoch()

    def look_for_end_epoch(self) -> None:
        """Warn where a pass must be over."""
        if self.passes_ended == 0 and self.marks:
            self.miss_end_epoch("training continues after an evaluation or a call of train()")
        elif self.passes_ended == 0 and self.batches > MANY_BATCHES:
            self.miss_end_epoch(f"more than {MANY_BATCHES:,} training batches")
        elif self.passes_ended > 1 and self.samples > 2 * self.longest_pass > 0:
            self.miss_end_epoch(f"{self.samples:,} samples in a pass, after passes of at most {self.longest_pass:,}")

    def evaluation(self) -> None:
        """Note that the loss is evaluated: a pass may be over."""
        if not self.trained:
            return
        compiled = self.batches == 0
        if compiled and self.schedules:
            self.miss_progress()
        if compiled and self.passes and self.passes_ended == 0 and self.marks:
            self.miss_end_epoch("training continued after an evaluation")
        self.mark()

    def train_called(self) -> None:
        """Note a call of `train()`: a pass may be over, unless the loop calls it before each batch."""
        if self.batches_since_mark > 1:
            self.mark()
        self.batches_since_mark = 0

    def mark(self) -> None:
        """Note that a pass may be over."""
        self.marks += 1
        self.batches_since_mark = 0
        self.trained = False

    def end_epoch(self) -> None:
        """Note that `end_epoch` was called."""
        self.passes_ended += 1
        self.longest_pass = max(self.longest_pass, self.samples)
        self.start_pass()

    def progress(self) -> None:
        """Note that `set_progress` was called: schedules need no warning any more."""
        self.schedules = ()

    def miss_end_epoch(self, why: str) -> None:
        """Warn that `end_epoch` is missing."""
        called = "was never called" if self.passes_ended == 0 else "was not called"
        warnings.warn(
            f"{' and '.join(self.passes)}: {why}, and end_epoch() {called}, so the soft labels stay as they are. "
            "Call loss.end_epoch() after each pass over the training data. Ignore this if the first one is not over",
            stacklevel=2,
        )
        self.passes = ()

    def miss_progress(self) -> None:
        """Warn that `set_progress` is missing."""
        warnings.warn(
            f"{' and '.join(self.schedules)}: set_progress() was never called, so the schedule stays where it starts. "
            "Call loss.set_progress(epoch / (epochs - 1)) before each epoch, counted from 0",
            stacklevel=2,
        )
        self.schedules = ()
