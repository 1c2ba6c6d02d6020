"""Taking turns, and what can be said of the times."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, TypeVar

Value = TypeVar("Value")
Clock = Callable[[], float]

SHORT = 0.02
"""Seconds that a sample lasts at the least: quicker work is done several times for one."""
DISTURBED = 1.3
"""How many times its least a contender's greatest time is at most on a quiet machine."""
BUDGET = 20.0
"""Seconds that one contender's samples of one case may take together, unless it is said otherwise."""


class Spread(NamedTuple):
    """The median of some numbers, the least and the greatest."""

    median: float
    least: float
    greatest: float


class Turn(NamedTuple):
    """A contender's work, how often it is done for one sample, and in how many rounds it takes part."""

    work: Callable[[], object]
    calls: int
    rounds: int


def spread(values: Sequence[float]) -> Spread:
    """The median, the least and the greatest of at least one number."""
    return Spread(statistics.median(values), min(values), max(values))


def timed(work: Callable[[], Value], clock: Clock = time.perf_counter) -> tuple[Value, float]:
    """Return (what `work` returns, the seconds it took); `work` returns when its results are there, not before."""
    began = clock()
    value = work()
    return value, clock() - began


def turn(work: Callable[[], object], seconds: float, repeat: int, quick: bool = False, budget: float = BUDGET) -> Turn:
    """How work that takes about so many seconds is sampled `repeat` times; once where one sample takes the budget.

    The samples of slow work are fewer, so that they take about `budget` seconds together.
    """
    calls = 1 if quick else max(1, math.ceil(SHORT / max(seconds, 1e-7)))
    rounds = repeat if seconds * repeat <= budget else 1 if seconds >= budget else max(3, int(budget / seconds))
    return Turn(work, calls, min(rounds, repeat))


def interleaved(
    contenders: Mapping[str, Callable[[], object] | Turn], repeat: int, clock: Clock = time.perf_counter
) -> dict[str, tuple[float, ...]]:
    """Seconds of one call in each of `repeat` samples of each contender, in turn, each first in its turn: A B, B A, …

    The k-th times of two contenders were taken in one round. On a machine that others use too, or whose clock rate
    drifts, only such neighbours can be compared. Every round begins with the next contender, since who comes after
    PyTorch finds its threads still spinning, which costs a work of 5 ms a quarter more. A `Turn` may have fewer
    samples: those of the first rounds.
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
    """The ratio of each pair of neighbours: how many times as long the numerator took."""
    return tuple(a / b for a, b in zip(numerator, denominator, strict=True))
