"""The rate at which either framework multiplies large matrices here, which no network of dense layers exceeds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from benchmarks.timing import interleaved

SIZE = 2048
REPEAT = 10


class Limit(NamedTuple):
    """Matrix products of `size`³ in float32, compiled and warm, by framework."""

    size: int
    products: Mapping[str, Callable[[], object]]


def matmul_rates(limit: Limit, repeat: int = REPEAT) -> dict[str, float]:
    """FLOP/s of each framework's best of `repeat` products, a product being 2 size³ FLOPs.

    The best, not the median: what disturbs a product makes it slower, never faster.
    """
    seconds = interleaved(limit.products, repeat)
    return {name: 2 * limit.size**3 / min(times) for name, times in seconds.items()}


def best(*rates: Mapping[str, float]) -> dict[str, float]:
    """The best rate of each framework in several measurements."""
    return {name: max(rate[name] for rate in rates) for name in rates[0]}
