"""Findings of high precision."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mathdnn_jax.testing.check_event import (
    ADMITTED,
    NOT_FINITE,
    SINGULAR,
    check_derivative,
    finding_of,
    log_det_claim,
)
from mathdnn_jax.testing.diagnosis import guesses
from mathdnn_jax.testing.finding import Finding
from mathdnn_jax.testing.high_precision.derivative import exact_differences
from mathdnn_jax.testing.high_precision.numbers import UnresolvedError, nearest
from mathdnn_jax.testing.high_precision.point import Point
from mathdnn_jax.testing.high_precision.verdict import (
    BROKEN,
    SIZE,
    LogDetVerdict,
    condition_of,
    judge_log_det,
    judge_round_trip,
    moved,
)
from mathdnn_jax.testing.programs import Analysis, Direction

ROUNDED = 4
"""From so many tolerances on, a value that is computed narrowly is not what its formula says."""

POOR = "the formula is right, and the arithmetic is poorer than this case explains: it cancels or overflows on the way"
NARROW = "some of it is computed in less than float64: a constant or a cast that is float32"


def log_det_finding(
    direction: Direction,
    analysis: Analysis,
    point: Point,
    tolerance: float,
    finding: Finding | None,
    *,
    reported: bool = True,
) -> tuple[Finding | None, bool]:
    """Return the finding on a log_det, or None, and whether the case is decided.

    Args:
        direction: the map.
        analysis: the map in float64.
        point: the map in high precision.
        tolerance: the tolerance of the check.
        finding: the finding of float64, which is returned if it is confirmed and its numbers are good enough.
        reported: whether the log_det of float64 is judged too, and not the formula alone.

    Raises:
        UnresolvedError: high precision cannot decide.
    """
    verdict = judge_log_det(point, analysis, tolerance, reported=reported)
    if verdict.kind == "right":
        return None, verdict.decisive
    if verdict.kind == "singular":
        numbers: list[tuple[str, object]] = [("log_det", float(analysis.log_det)), ("log|det J|", -np.inf)]
        claim = ADMITTED if verdict.log_det == -np.inf else SINGULAR
        return finding_of("singular", direction, analysis, claim, numbers), True
    if verdict.kind == "poor":
        return _poor_log_det(direction, analysis, verdict), True
    if finding is not None and finding.check == "log_det" and _says_the_same(analysis, verdict, finding):
        return finding, True
    numbers = [
        ("log_det", verdict.log_det),
        ("log|det J|", verdict.expected),
        ("difference", verdict.log_det - verdict.expected),
        ("allowed", verdict.allowed),
        ("sign of det J", float(verdict.sign)),
        ("all of this", "in high precision; float64 cannot tell here"),
    ]
    truth = (float(verdict.sign), verdict.expected)
    hints = guesses(verdict.log_det, analysis.jacobian, direction.shape, verdict.allowed, truth)
    check = "log_det" if np.isfinite(verdict.log_det) else "finite"
    claim = log_det_claim(direction) if check == "log_det" else NOT_FINITE
    return finding_of(check, direction, analysis, claim, numbers, hints), True


def _says_the_same(analysis: Analysis, verdict: LogDetVerdict, finding: Finding) -> bool:
    """Return whether the numbers of float64 are good enough to be shown."""
    expected = float(dict(finding.numbers)["log|det J|"])  # type: ignore[arg-type]
    close = 1e-6 * abs(verdict.log_det - verdict.expected)
    return abs(float(analysis.log_det) - verdict.log_det) <= close and abs(expected - verdict.expected) <= close


def _poor_log_det(direction: Direction, analysis: Analysis, verdict: LogDetVerdict) -> Finding:
    numbers: list[tuple[str, object]] = [
        ("log_det", float(analysis.log_det)),
        ("log_det, exactly", verdict.log_det),
        ("allowed", verdict.allowed),
    ]
    finite = np.isfinite(analysis.log_det)
    claim = "log_det must be what its formula says" if finite else NOT_FINITE
    hints = (POOR, NARROW) if verdict.narrow else (POOR,)
    return finding_of("log_det" if finite else "finite", direction, analysis, claim, numbers, hints)


def finite_finding(point: Point, analysis: Analysis, finding: Finding) -> Finding | None:
    """Return the finding that a result of float64 is not finite, or None if the condition of the case explains it.

    A solve may divide by a pivot that rounding made zero. Then rounding of that size changes the exact result as much.

    Raises:
        UnresolvedError: high precision cannot decide.
    """
    explained = moved(point, SIZE)
    broken = np.isinf(explained.log_det) or np.isinf(explained.value).any()
    if broken or not SIZE * condition_of(point, analysis) <= BROKEN:
        return None
    return finding._replace(hints=(*finding.hints, POOR))


class RoundTrip(NamedTuple):
    """A round trip from an event of `direction`: its name, the first map alone, and both maps."""

    what: str
    direction: Direction
    first: Point
    back: Point


def derivative_finding(direction: Direction, analysis: Analysis, point: Point, tolerance: float) -> Finding | None:
    """Return the finding that a derivative is wrong, or None.

    A conversion to a narrower type is followed as the identity, which it is up to rounding. Where that rounding is what
    the map does, as in a quantiser, the exact differences are those of another map.

    Raises:
        UnresolvedError: high precision cannot decide.
    """
    computed = point.value
    rounded = np.abs(nearest(computed.value - analysis.value)) > ROUNDED * tolerance * (1 + np.abs(analysis.value))
    if computed.narrow and rounded.any():
        raise UnresolvedError("the value is rounded to less than float64")
    return check_derivative(direction, analysis, exact_differences(point, analysis.tangents, tolerance))


def round_trip_finding(
    trip: RoundTrip, analysis: Analysis, returned: np.ndarray | None, tolerance: float, finding: Finding | None
) -> Finding | None:
    """Return the finding on a round trip, or None.

    Args:
        trip: the round trip.
        analysis: the first map in float64.
        returned: the event that comes back in float64; None leaves it out.
        tolerance: the tolerance of the check.
        finding: the finding of float64, which is returned if it is confirmed and shows the same event.

    Raises:
        UnresolvedError: high precision cannot decide.
    """
    what, direction = trip.what, trip.direction
    verdict = judge_round_trip(trip.back, trip.first, analysis, returned, tolerance)
    if verdict.kind == "right":
        return None
    shown = verdict.back if verdict.kind == "wrong" or returned is None else returned
    same = returned is not None and np.allclose(returned, shown, rtol=1e-6, atol=0)
    if finding is not None and verdict.kind == "wrong" and same:
        return finding
    off = np.abs(shown - analysis.x)
    wrong = ~(off <= verdict.allowed)
    i = int(np.where(wrong, np.nan_to_num(off, nan=np.inf), -1).argmax())
    numbers: tuple[tuple[str, object], ...] = (
        (what, shown[i]),
        ("must be", analysis.x[i]),
        ("allowed difference", verdict.allowed[i]),
        ("entry", tuple(int(k) for k in np.unravel_index(i, direction.shape))),
        ("entries that are wrong", f"{int(wrong.sum())} of {wrong.size}"),
    )
    hints: tuple[str, ...] = ()
    if verdict.kind == "poor":
        numbers += ((f"{what}, exactly", verdict.back[i]),)
        hints = (POOR, NARROW) if verdict.narrow else (POOR,)
    event = analysis.x.reshape(direction.shape)
    return Finding("round_trip", direction.name, f"{what} must be what was put in", numbers, event, hints)
