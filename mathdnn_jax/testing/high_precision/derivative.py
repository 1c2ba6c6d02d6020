"""Central differences in high precision, for values whose float64 differences are lost in rounding."""

from __future__ import annotations

import numpy as np

from mathdnn_jax.testing.condition import EPS
from mathdnn_jax.testing.differences import Differences, term_magnitude
from mathdnn_jax.testing.high_precision.numbers import UnresolvedError, finite, nearest
from mathdnn_jax.testing.high_precision.point import Point
from mathdnn_jax.testing.high_precision.settle import LEVELS, SPARE, Derived, bounded, decimals


def exact_differences(point: Point, tangents: np.ndarray, tolerance: float) -> list[Differences]:
    """Compare J dx with (f(x + dx) − f(x − dx)) / 2 for each tangent dx (n, size) that stays in the domain.

    The value of a program that iterates is only right to some tolerance of its own, so it is allowed that of the check.

    Raises:
        UnresolvedError: the program cannot be followed, or no tangent stays in the domain.
    """
    here, digits = _enough(point, tangents)
    jacobian, value = here.jacobian, here.computed.value
    found = []
    for tangent in tangents:
        if not np.isfinite(tangent).all():
            continue
        step = tangent.reshape(point.x.shape)
        ahead, behind = (point.at(move).evaluate(digits, defined=False).value for move in (step, -step))
        if not (finite(ahead) & finite(behind)).all():
            continue
        along, difference = jacobian @ tangent, (ahead - behind) / 2
        scale = nearest(np.abs(jacobian) @ np.abs(tangent))
        rounding = max(4 * EPS, tolerance) if here.computed.approximate else 0.0
        allowed = rounding * term_magnitude(nearest(jacobian), point.x.reshape(-1), nearest(value))
        bend = nearest(np.abs(ahead - 2 * value + behind))
        found.append(Differences(nearest(along), nearest(along - difference), scale, bend + allowed))
    if not found:
        raise UnresolvedError("no central difference stays in the domain of the map")
    return found


def _enough(point: Point, tangents: np.ndarray) -> tuple[Derived, int]:
    """Evaluate the map with enough digits to tell z + J dx from z. Return the result and the number of digits."""
    digits = LEVELS[1]
    here = point.differentiate(digits)
    steps = np.abs(here.jacobian) @ np.abs(np.nan_to_num(tangents)).max(0)
    pairs = zip(here.computed.value, steps, strict=True)
    needed = bounded(max(SPARE + decimals(z) - decimals(step) if z and step else 0 for z, step in pairs))
    return (here, digits) if needed <= digits else (point.differentiate(needed), needed)
