"""What a profiler reports: the cost of each operation in one run."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple


class Cost(NamedTuple):
    """One kind of operation, its seconds in one run, summed over threads, and the number of times it ran."""

    operation: str
    seconds: float
    times: int


class Profile(NamedTuple):
    """The seconds of one run without a profiler, and the costs of the operations in the next run, largest first."""

    seconds: float
    costs: tuple[Cost, ...]


def largest_first(costs: Iterable[Cost]) -> tuple[Cost, ...]:
    """Sort costs by their seconds, in descending order."""
    return tuple(sorted(costs, key=lambda cost: -cost.seconds))
