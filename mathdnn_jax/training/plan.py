"""Where a run is cut into dispatches: the places at which the host looks at it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple


class Plan(NamedTuple):
    """A run's length in steps, and when the host wants it.

    Cuts depend on the position alone and never on where a run was taken up again: a resumed run executes the very
    programs that the uninterrupted one did.

    - `per_epoch`, `epochs`: of steps, of epochs;
    - `every_epochs`: a cut at the end of each so-many-th epoch; None where nobody watches;
    - `every_steps`: also after each so-many steps within an epoch;
    - `most`: steps that a dispatch has at most where nobody watches, in whole epochs but at least one.
    """

    per_epoch: int
    epochs: int
    every_epochs: int | None
    every_steps: int | None
    most: int

    @property
    def steps(self) -> int:
        """All steps of the run."""
        return self.per_epoch * self.epochs

    def dispatches(self, start: int) -> Iterator[tuple[int, int]]:
        """The (first, past the last) steps of each dispatch from step `start` on."""
        while start < self.steps:
            stop = self._cut_after(start)
            yield start, stop
            start = stop

    def _cut_after(self, start: int) -> int:
        epoch = start // self.per_epoch
        cuts = [self.steps]
        together = max(1, self.most // self.per_epoch)
        cuts.append((epoch // together + 1) * together * self.per_epoch)
        if self.every_epochs is not None:
            cuts.append((epoch // self.every_epochs + 1) * self.every_epochs * self.per_epoch)
        if self.every_steps is not None:
            within = (start - epoch * self.per_epoch) // self.every_steps + 1
            cuts.append(min(epoch * self.per_epoch + within * self.every_steps, (epoch + 1) * self.per_epoch))
        return min(cuts)
