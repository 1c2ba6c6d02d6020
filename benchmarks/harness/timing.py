"""Interleaved sampling, and the statistics of its times."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, TypeVar

Value = TypeVar("Value")
Clock = Callable[[], float]

SHORT = 0.02
"""Least seconds of one sample; quicker work is repeated within the sample."""
DISTURBED = 1.3
"""On a quiet machine, a contender's greatest time is at most this many times its least."""
BUDGET = 20.0
"""Seconds that all samples of one contender of a case may take together, by default."""


class Spread(NamedTuple):
    """The median, the least and the greatest of some numbers."""

    median: float
    least: float
    greatest: float


class Turn(NamedTuple):
    """A contender's work, the number of calls in one sample, and the number of rounds that it takes part in."""

    work: Callable[[], object]
    calls: int
    rounds: int


def spread(values: Sequence[float]) -> Spread:
    """Return the median, the least and the greatest of at least one number."""
    return Spread(statistics.median(values), min(values), max(values))


def timed(work: Callable[[], Value], clock: Clock = time.perf_counter) -> tuple[Value, float]:
    """Return the result of `work` and the seconds that it took; `work` must return only when its result is ready."""
    began = clock()
    value = work()
    return value, clock() - began


def turn(work: Callable[[], object], seconds: float, repeat: int, quick: bool = False, budget: float = BUDGET) -> Turn:
    """Decide how to sample work that takes about `seconds`: `repeat` times, but less often if it is slow.

    All samples together take about `budget` seconds. Work that exceeds the budget alone is sampled once.
    """
    calls = 1 if quick else max(1, math.ceil(SHORT / max(seconds, 1e-7)))
    rounds = repeat if seconds * repeat <= budget else 1 if seconds >= budget else max(3, int(budget / seconds))
    return Turn(work, calls, min(rounds, repeat))


def interleaved(
    contenders: Mapping[str, Callable[[], object] | Turn], repeat: int, clock: Clock = time.perf_counter
) -> dict[str, tuple[float, ...]]:
    """Return the seconds of one call in each of `repeat` samples of each contender, taken in rounds: A B, B A, …

    The k-th times of any two contenders come from the same round. On a machine that is shared, or whose clock rate
    drifts, only such neighbours are comparable. Each round begins with another contender, because whoever follows
    PyTorch finds PyTorch's threads still spinning, which slows work of 5 ms down by a quarter. A `Turn` may take part
    in the first rounds only, and then has fewer samples.
    """
    turns = {name: work if isinstance(work, Turn) else Turn(work, 1, repeat) for name, work in contenders.items()}
    seconds: dict[str, list[float]] = {name: [] for name in turns}
    for k in range(repeat):
        first = k % len(turns)
        for name, (work, calls, rounds) in [*turns.items()][first:] + [*turns.items()][:first]:
            if k < rounds:
                began = clock()
                for _ in range(calls):
                    work()
                seconds[name].append((clock() - began) / calls)
    return {name: tuple(values) for name, values in seconds.items()}


def ratios(numerator: Sequence[float], denominator: Sequence[float]) -> tuple[float, ...]:
    """Return the ratio of each pair of neighbours."""
    return tuple(a / b for a, b in zip(numerator, denominator, strict=True))
