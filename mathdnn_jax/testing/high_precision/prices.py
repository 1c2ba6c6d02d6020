"""The work of functions of single numbers, and how it grows with the number of digits."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mathdnn_jax.testing.high_precision.numbers import nearest


class Price(NamedTuple):
    """The work for one entry, in microseconds.

    - `work`: the work with up to 120 digits;
    - `power`: beyond 120 digits, the work grows as this power of the number of digits;
    - `per`: beyond this size of an argument, it grows in proportion to the size, up to `MOST` times;
    - `first`: the work of the first call with 120 digits, which computes Bernoulli numbers.
    """

    work: float
    power: float = 1.7
    per: float = np.inf
    first: float = 0.0


MOST = 30.0
"""For large arguments, a function is eventually expanded around infinity, and its work stops growing."""

FIRST_POWER = 2.9
"""The power of the number of digits with which the work of computing Bernoulli numbers grows."""

ELEMENTARY = Price(20.0)
"""The price of exponentials, logarithms and all functions that are not listed."""

PRICES = {
    **dict.fromkeys(("add", "sub", "mul", "neg", "abs", "square", "sign", "floor", "ceil"), Price(1.5, 1.0)),
    **dict.fromkeys(("max", "min", "clamp", "round_to_even", "round_away"), Price(3.0, 0.5)),
    **dict.fromkeys(("div", "sqrt", "rsqrt", "cbrt", "integer_pow"), Price(6.0, 1.0)),
    "pow": Price(45.0),
    "erf": Price(50.0, 2.0),
    "erfc": Price(70.0, 2.3),
    "erf_inv": Price(900.0, 2.1),
    "lgamma": Price(90.0, 2.2, first=3.5e3),
    "digamma": Price(150.0, 2.7, first=3.5e3),
    "polygamma": Price(1500.0, 1.7, first=3.5e3),
    "zeta": Price(3500.0, 2.8),
    "igamma": Price(400.0, 1.9, per=100.0),
    "igammac": Price(1000.0, 2.6, per=100.0),
    "regularized_incomplete_beta": Price(400.0, 1.9, per=30.0),
    "bessel_i0e": Price(100.0, 1.8, per=5.0),
    "bessel_i1e": Price(100.0, 1.8, per=5.0),
}


def work_of(name: str, digits: int, count: int, arguments: tuple[np.ndarray, ...]) -> float:
    """Return the work of a function on this many entries, without that of the first call."""
    price = PRICES.get(name, ELEMENTARY)
    work = price.work * count * _times(digits) ** price.power
    if not count or price.per == np.inf:
        return float(work)
    sizes = [np.abs(nearest(argument)) for argument in arguments]
    largest = max(float(size[np.isfinite(size)].max(initial=0.0)) for size in sizes)
    return float(work * min(max(1.0, largest / price.per), MOST))


def work_of_first(name: str, digits: int) -> float:
    """Return the additional work of the first call of a function."""
    return float(PRICES.get(name, ELEMENTARY).first * _times(digits) ** FIRST_POWER)


def _times(digits: int) -> float:
    return max(1.0, digits / 120)
