"""Taking turns, and what can be said of the times."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, TypeVar

Value = TypeVar("Value")
Clock = Callable[[], float]


class Spread(NamedTuple):
    """The median of some numbers, the least and the greatest."""

    median: float
    least: float
    greatest: float


def spread(values: Sequence[float]) -> Spread:
    """The median, the least and the greatest of at least one number."""
    return Spread(statistics.median(values), min(values), max(values))


def timed(work: Callable[[], Value], clock: Clock = time.perf_counter) -> tuple[Value, float]:
    """Return (what `work` returns, the seconds it took); `work` returns when its results are there, not before."""
    began = clock()
    value = work()
    return value, clock() - began


def interleaved(
    contenders: Mapping[str, Callable[[], object]], repeat: int, clock: Clock = time.perf_counter
) -> dict[str, tuple[float, ...]]:
    """Seconds of `repeat` calls of each contender, in turn: A B A B …

    The k-th times of two contenders were taken one right after the other. On a machine that others use too, or whose
    clock rate drifts, only such neighbours can be compared.
    """
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(repeat):
        for name, work in contenders.items():
            seconds[name].append(timed(work, clock)[1])
    return {name: tuple(values) for name, values in seconds.items()}


def ratios(numerator: Sequence[float], denominator: Sequence[float]) -> tuple[float, ...]:
    """The ratio of each pair of neighbours: how many times as long the numerator took."""
    return tuple(a / b for a, b in zip(numerator, denominator, strict=True))
