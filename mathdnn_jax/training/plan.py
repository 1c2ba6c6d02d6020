"""Dividing a run into dispatches, between which the host can act."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple


class Plan(NamedTuple):
    """The length of a run, and the steps after which the host has to act.

    The divisions depend on the position in the run alone, never on the step where it was resumed: a resumed run
    executes exactly the programs that the uninterrupted one would.

    - `per_epoch`: steps in an epoch; `epochs`: epochs in the run;
    - `every_epochs`: a dispatch ends after every `every_epochs` epochs; None if nothing happens between epochs;
    - `every_steps`: a dispatch also ends after every `every_steps` steps within an epoch;
    - `max_steps`: maximum number of steps of a dispatch, rounded down to whole epochs but to no less than one.
    """

    per_epoch: int
    epochs: int
    every_epochs: int | None
    every_steps: int | None
    max_steps: int

    @property
    def steps(self) -> int:
        """Total number of steps."""
        return self.per_epoch * self.epochs

    def dispatches(self, start: int) -> Iterator[tuple[int, int]]:
        """(first step, one past the last step) of each dispatch from step `start` on."""
        while start < self.steps:
            stop = self._next_stop(start)
            yield start, stop
            start = stop

    def _next_stop(self, start: int) -> int:
        epoch = start // self.per_epoch
        stops = [self.steps]
        together = max(1, self.max_steps // self.per_epoch)
        stops.append((epoch // together + 1) * together * self.per_epoch)
        if self.every_epochs is not None:
            stops.append((epoch // self.every_epochs + 1) * self.every_epochs * self.per_epoch)
        if self.every_steps is not None:
            within = (start - epoch * self.per_epoch) // self.every_steps + 1
            stops.append(min(epoch * self.per_epoch + within * self.every_steps, (epoch + 1) * self.per_epoch))
        return min(stops)
