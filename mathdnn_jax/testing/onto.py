"""The check that an elementwise map reaches all of its latent support, for maps whose inverse is not given.

An elementwise map is monotone in each entry, so its image ends where the map's limits at the ends of the support lie. A
limit is seen when the values stop changing although the entry goes on towards its end: tanh at 10, 10², …, 10³⁰⁰. Maps
that mix entries are not examined.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mathdnn_jax.testing.check_event import EventChecker
from mathdnn_jax.testing.check_float64 import failure_at
from mathdnn_jax.testing.failure import Failure
from mathdnn_jax.testing.high_precision.numbers import UnresolvedError, nearest
from mathdnn_jax.testing.high_precision.point import Point
from mathdnn_jax.testing.programs import as_arrays, flat
from mathdnn_jax.testing.structure import pattern
from mathdnn_jax.testing.support import Support

SETTLED = 1e-9
"""A value has reached its limit if it changes by less than this times 1 + |limit| on the last steps of its way."""

AWAY = 1e-6
"""A limit is another number than a finite end of the latent support if it is this times 1 + |end| away from it."""

EXPONENTS = (1, 2, 4, 8, 16, 32, 64, 128, 300)
"""An entry goes to infinity by these powers of ten, and to a support's end at zero by their reciprocals."""

NEAR_EXPONENTS = tuple(range(1, 15))
"""The same for an end at any other number, which floats cannot come as close to."""


class Limit(NamedTuple):
    """The limits of all entries of the value at one end of the support: NaN where none is seen.

    `settled` is the first point of the way at which an entry has reached its limit, for each entry of the value.
    """

    values: np.ndarray
    settled: np.ndarray
    points: np.ndarray


def check_onto(checker: EventChecker, latent_support: Support) -> Failure | None:
    """Check that the image of an elementwise map ends where its latent support ends."""
    nonzero = pattern(checker.analysis.jacobian)
    if not ((nonzero.sum(0) == 1).all() and (nonzero.sum(1) == 1).all()):
        return None
    entry_of, size = nonzero.argmax(1), len(nonzero)
    rises = checker.analysis.jacobian[np.arange(size), entry_of] > 0
    low, high = latent_support.low.reshape(-1), latent_support.high.reshape(-1)
    for end, x_bound in (("lower", checker.support.low), ("upper", checker.support.high)):
        limit = _limit(checker, x_bound.reshape(-1), 1 if end == "upper" else -1)
        expected = np.where(rises == (end == "upper"), high, low)
        far = np.isinf(expected) | (np.abs(limit.values - expected) > AWAY * (1 + np.abs(expected)))
        for i in np.flatnonzero(np.isfinite(limit.values) & far):
            if _confirmed(checker, limit, int(i)):
                x = float(limit.points[limit.settled[i], entry_of[i]])
                numbers: list[tuple[str, object]] = [
                    (f"limit at the {end} end of the support", float(limit.values[i])),
                    ("end of latent_support", float(expected[i])),
                    ("reached at", x),
                    ("entry", tuple(int(k) for k in np.unravel_index(i, checker.direction.value_shape))),
                ]
                hints = (
                    "latents beyond the limit have no x, so the density of x does not integrate to one: state the true "
                    "image as latent_support, and choose a prior on it",
                )
                claim = f"{checker.direction.name} must reach every latent in latent_support"
                return failure_at("onto", checker.direction, checker.analysis, claim, numbers, hints)
    return None


def _limit(checker: EventChecker, bound: np.ndarray, sign: int) -> Limit:
    points = _way(checker.analysis.x, bound, sign)
    case, shape = checker.case, checker.direction.shape
    arguments = as_arrays(case.params), as_arrays(case.context)
    values = np.stack([flat(checker.direction.single(*arguments, x.reshape(shape))[0]) for x in points])
    limits, settled = np.full(values.shape[1], np.nan), np.zeros(values.shape[1], int)
    for i, column in enumerate(values.T):
        close = np.abs(column - column[-1]) <= SETTLED * (1 + np.abs(column[-1]))
        if np.isfinite(column[-1]) and close[-3:].all():
            limits[i], settled[i] = column[-1], int(np.flatnonzero(close)[0])
    return Limit(limits, settled, points)


def _way(x: np.ndarray, bound: np.ndarray, sign: int) -> np.ndarray:
    """Return points that go from x towards the ends of the support, all entries together."""
    count = max(len(EXPONENTS), len(NEAR_EXPONENTS))
    points = np.empty((count, x.size))
    for j, (start, end) in enumerate(zip(x, bound, strict=True)):
        exponents = NEAR_EXPONENTS if np.isfinite(end) and end != 0 else EXPONENTS
        # The first one is repeated, so that the last ones, which decide, are all different.
        steps = 10.0 ** np.asarray([exponents[0]] * (count - len(exponents)) + list(exponents), np.float64)
        points[:, j] = sign * steps if np.isinf(end) else end + (start - end) / steps
    return points


def _confirmed(checker: EventChecker, limit: Limit, i: int) -> bool:
    """Return whether the exact value is the limit too, where float64 first has it; else float64 alone is believed.

    A formula may lose its growth by rounding, like −log(1 − tanh x) from 20 on.
    """
    point = limit.points[limit.settled[i]].reshape(checker.direction.shape)
    exact = Point(checker.direction, checker.case.params, checker.case.context, point, spend=checker.state.spend)
    try:
        value = float(nearest(exact.value.value)[i])
    except UnresolvedError as error:
        checker.state.unresolved = str(error)
        return True
    return bool(abs(value - limit.values[i]) <= 2 * SETTLED * (1 + abs(limit.values[i])))
