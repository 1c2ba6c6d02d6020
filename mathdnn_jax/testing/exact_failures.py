"""Failures that are found in high precision."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mathdnn_jax.testing.check_float64 import (
    ADMITTED,
    NOT_FINITE,
    SINGULAR,
    check_derivative,
    failure_at,
    log_det_claim,
    returned_failure,
)
from mathdnn_jax.testing.diagnosis import diagnose
from mathdnn_jax.testing.failure import Failure
from mathdnn_jax.testing.high_precision.derivative import exact_differences
from mathdnn_jax.testing.high_precision.numbers import UnresolvedError, nearest
from mathdnn_jax.testing.high_precision.point import Point
from mathdnn_jax.testing.high_precision.verdict import (
    BROKEN,
    SIZE,
    LogDetVerdict,
    condition_of,
    log_det_verdict,
    moved,
    round_trip_verdict,
)
from mathdnn_jax.testing.programs import Analysis, Direction

ROUNDED = 4
"""A value that is computed narrowly differs from its formula if it is off by more than this many tolerances."""

POOR = "the formula is right, but its arithmetic loses more than this case explains: it cancels or overflows on the way"
NARROW = "part of it is computed with less than float64: look for a float32 constant or cast"


def log_det_failure(
    direction: Direction,
    analysis: Analysis,
    point: Point,
    tolerance: float,
    failure: Failure | None,
    *,
    reported: bool = True,
) -> tuple[Failure | None, bool]:
    """Return the failure of a log_det or None, and whether the case is decided.

    Args:
        direction: the map.
        analysis: the map in float64.
        point: the map in high precision.
        tolerance: the tolerance of the check.
        failure: the failure in float64, which is returned if it is confirmed and its numbers are good enough.
        reported: whether the log_det of float64 is checked as well as the formula.

    Raises:
        UnresolvedError: high precision cannot decide.
    """
    verdict = log_det_verdict(point, analysis, tolerance, reported=reported)
    if verdict.kind == "right":
        return None, verdict.decisive
    if verdict.kind == "singular":
        numbers: list[tuple[str, object]] = [("log_det", float(analysis.log_det)), ("log|det J|", -np.inf)]
        claim = ADMITTED if verdict.log_det == -np.inf else SINGULAR
        return failure_at("singular", direction, analysis, claim, numbers), True
    if verdict.kind == "poor":
        return _poor_log_det(direction, analysis, verdict), True
    if failure is not None and failure.check == "log_det" and _agrees(analysis, verdict, failure):
        return failure, True
    numbers = [
        ("log_det", verdict.log_det),
        ("log|det J|", verdict.expected),
        ("difference", verdict.log_det - verdict.expected),
        ("allowed", verdict.allowed),
        ("sign of det J", float(verdict.sign)),
        ("computed", "in high precision, because float64 cannot decide this case"),
    ]
    truth = (float(verdict.sign), verdict.expected)
    hints = diagnose(verdict.log_det, analysis.jacobian, direction.shape, verdict.allowed, truth)
    check = "log_det" if np.isfinite(verdict.log_det) else "finite"
    claim = log_det_claim(direction) if check == "log_det" else NOT_FINITE
    return failure_at(check, direction, analysis, claim, numbers, hints), True


def _agrees(analysis: Analysis, verdict: LogDetVerdict, failure: Failure) -> bool:
    """Return whether the numbers of float64 are good enough to be shown."""
    expected = float(dict(failure.numbers)["log|det J|"])  # type: ignore[arg-type]
    close = 1e-6 * abs(verdict.log_det - verdict.expected)
    return abs(float(analysis.log_det) - verdict.log_det) <= close and abs(expected - verdict.expected) <= close


def _poor_log_det(direction: Direction, analysis: Analysis, verdict: LogDetVerdict) -> Failure:
    numbers: list[tuple[str, object]] = [
        ("log_det", float(analysis.log_det)),
        ("exact log_det", verdict.log_det),
        ("allowed", verdict.allowed),
    ]
    finite = np.isfinite(analysis.log_det)
    claim = "log_det must equal the exact value of its formula" if finite else NOT_FINITE
    hints = (POOR, NARROW) if verdict.narrow else (POOR,)
    return failure_at("log_det" if finite else "finite", direction, analysis, claim, numbers, hints)


def finite_failure(point: Point, analysis: Analysis, failure: Failure) -> Failure | None:
    """Return the failure of a float64 result that is not finite, or None if the condition of the case explains it.

    A solve may divide by a pivot that rounding made zero. Rounding of that size then changes the exact result as much.

    Raises:
        UnresolvedError: high precision cannot decide.
    """
    explained = moved(point, SIZE)
    broken = np.isinf(explained.log_det) or np.isinf(explained.value).any()
    if broken or not SIZE * condition_of(point, analysis) <= BROKEN:
        return None
    return failure._replace(hints=(*failure.hints, POOR))


class RoundTrip(NamedTuple):
    """A round trip from an event of `direction`: its name, the first map alone, and both maps together."""

    what: str
    direction: Direction
    first: Point
    back: Point


def derivative_failure(direction: Direction, analysis: Analysis, point: Point, tolerance: float) -> Failure | None:
    """Return the failure of a wrong derivative, or None.

    High precision treats a conversion to a narrower type as the identity, which it is up to rounding. If that rounding
    is the purpose of the map, as in a quantiser, the exact differences are those of another map.

    Raises:
        UnresolvedError: high precision cannot decide.
    """
    computed = point.value
    rounded = np.abs(nearest(computed.value - analysis.value)) > ROUNDED * tolerance * (1 + np.abs(analysis.value))
    if computed.narrow and rounded.any():
        raise UnresolvedError("the value is rounded to less than float64")
    return check_derivative(direction, analysis, exact_differences(point, analysis.tangents, tolerance))


def round_trip_failure(
    trip: RoundTrip, analysis: Analysis, returned: np.ndarray | None, tolerance: float, failure: Failure | None
) -> Failure | None:
    """Return the failure of a round trip, or None.

    Args:
        trip: the round trip.
        analysis: the first map in float64.
        returned: the event that comes back in float64; None leaves it out.
        tolerance: the tolerance of the check.
        failure: the failure in float64, which is returned if it is confirmed and shows the same event.

    Raises:
        UnresolvedError: high precision cannot decide.
    """
    what, direction = trip.what, trip.direction
    verdict = round_trip_verdict(trip.back, trip.first, analysis, returned, tolerance)
    if verdict.kind == "right":
        return None
    shown = verdict.back if verdict.kind == "wrong" or returned is None else returned
    same = returned is not None and np.allclose(returned, shown, rtol=1e-6, atol=0)
    if failure is not None and verdict.kind == "wrong" and same:
        return failure
    off = np.abs(shown - analysis.x)
    wrong = ~(off <= verdict.allowed)
    i = int(np.where(wrong, np.nan_to_num(off, nan=np.inf), -1).argmax())
    failure = returned_failure(what, direction, analysis, (shown, verdict.allowed, wrong), i)
    if verdict.kind != "poor":
        return failure
    numbers = (*failure.numbers, (f"exact {what}", verdict.back[i]))
    return failure._replace(numbers=numbers, hints=(POOR, NARROW) if verdict.narrow else (POOR,))
