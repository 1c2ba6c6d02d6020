"""Verdicts on log-determinants and inverses that float64 cannot decide.

**The formula.** It is right if it holds in high precision up to tolerance · (1 + |result|) and up to what its constants
explain. A program's constants (log 2, or a matrix and its computed inverse) are rounded to float64. They are moved by
64 ε in random directions, and four times the resulting change is allowed. A program that iterates is right to float64
only, and is allowed 64 ε times the condition as well. An inverse that iterates may return any x whose image is z to the
tolerance. If zeros make the Jacobian singular, but moving the constants fills them, there is no verdict.

**The arithmetic.** The numbers that float64 reported may differ from the exact ones by tolerance times the condition of
the case, and by four times the change that results from moving constants, inputs, sums and solves by 64 ε. A formula
that cancels in an elementwise step differs by more. It is right, but its arithmetic is poor.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import numpy as np

from mathdnn_jax.testing.condition import EPS, determinant_condition, round_trip_scale
from mathdnn_jax.testing.float64_alone import has_zero_pattern
from mathdnn_jax.testing.high_precision.numbers import UnresolvedError, finite, nearest
from mathdnn_jax.testing.high_precision.point import Point
from mathdnn_jax.testing.high_precision.settle import LEVELS, digits_needed, inverse_of
from mathdnn_jax.testing.programs import Analysis

SIZE = 64 * EPS
TIMES = 4
BROKEN = 0.5
"""Beyond this change of log_det, or of a value relative to 1 + |value|, a first-order bound is meaningless."""

Kind = Literal["singular", "wrong", "poor", "right"]
"""A singular map, a wrong formula, a right formula with poor arithmetic, or one with good arithmetic."""


class LogDetVerdict(NamedTuple):
    """The exact log_det, the exact log|det J| and sign, and how far they may differ.

    If the arithmetic is poor, `allowed` is how far the reported log_det may differ from the exact one. `decisive` tells
    whether a difference of a hundredth would have been noticed, and `narrow` whether something is computed in float32.
    """

    kind: Kind
    log_det: float
    expected: float
    sign: int
    allowed: float
    decisive: bool
    narrow: bool


class RoundTripVerdict(NamedTuple):
    """The exact event that comes back, and how far each entry may be off, as in `LogDetVerdict`."""

    kind: Kind
    back: np.ndarray
    allowed: np.ndarray
    narrow: bool


class Moved(NamedTuple):
    """The largest changes of value and log_det over the draws, which are infinite beyond `BROKEN`."""

    value: np.ndarray
    log_det: float


def log_det_verdict(point: Point, analysis: Analysis, tolerance: float, *, reported: bool) -> LogDetVerdict:
    """Compare log_det with log|det J|, and, if `reported` is set, the log_det of float64 with the exact one.

    Raises:
        UnresolvedError: high precision cannot decide.
    """
    derived = point.derived
    exact = derived.computed.log_det
    log_det, expected = float(exact), float(derived.log_abs_det)

    def verdict(kind: Kind, allowed: float, *, decisive: bool = True) -> LogDetVerdict:
        return LogDetVerdict(kind, log_det, expected, derived.sign, allowed, decisive, derived.computed.narrow)

    if derived.singular:
        _keep_pattern(point)
        return verdict("singular", 0.0)
    allowed = tolerance * (1 + abs(expected))
    off = float(abs(exact - derived.log_abs_det))
    if off > allowed:
        allowed += _leeway(point, analysis, tolerance)
    if off > allowed:
        if any(derived.computed.zeros):
            _keep_zeros(derived.computed.zeros, point.differentiate(LEVELS[-1]).computed.zeros)
        return verdict("wrong", allowed)
    decisive = allowed < 1e-2
    error = abs(float(analysis.log_det) - log_det)
    if not reported or error <= tolerance * (1 + abs(log_det)):
        return verdict("right", allowed, decisive=decisive)
    explained = tolerance * condition_of(point, analysis)
    if not error <= explained:
        explained += TIMES * moved(point, SIZE).log_det
    return verdict("right" if error <= explained or explained == math.inf else "poor", explained, decisive=decisive)


def round_trip_verdict(
    back: Point, first: Point, analysis: Analysis, returned: np.ndarray | None, tolerance: float
) -> RoundTripVerdict:
    """Compare the event that comes back with the one that was put in, exactly and in float64.

    Args:
        back: the second map after the first.
        first: the first map at the event.
        analysis: the first map in float64.
        returned: the event that comes back in float64; None leaves it out.
        tolerance: the tolerance of the check.

    Raises:
        UnresolvedError: high precision cannot decide.
    """
    x = analysis.x
    computed = back.value
    allowed = tolerance * (1 + np.abs(x))

    def off() -> np.ndarray:
        return np.asarray(np.abs(nearest(computed.value - x)))

    def verdict(kind: Kind) -> RoundTripVerdict:
        return RoundTripVerdict(kind, nearest(computed.value), allowed, computed.narrow)

    if (off() > allowed).any():
        needed = digits_needed(first.derived, first.spend)
        if needed > computed.digits:
            computed = back.value_at(needed)
    if (off() > allowed).any() and computed.uncertain:
        allowed = allowed + TIMES * moved(back, SIZE, everything=False).value
    if (off() > allowed).any() and computed.approximate:
        allowed = allowed + SIZE * _scale(first, analysis)
    if (off() > allowed).any() and not (computed.approximate and _is_root(first, x, computed.value - x, tolerance)):
        if any(computed.zeros):
            _keep_zeros(computed.zeros, back.evaluate(LEVELS[-1]).zeros)
        return verdict("wrong")
    if returned is None:
        return verdict("right")
    error = np.abs(returned - x)
    allowed = tolerance * (1 + np.abs(x))
    if not (error <= allowed).all():
        allowed = tolerance * _scale(first, analysis)
    if not (error <= allowed).all():
        allowed = allowed + TIMES * moved(back, SIZE).value
    return verdict("right" if ((error <= allowed) | (allowed == np.inf)).all() else "poor")


def _is_root(first: Point, x: np.ndarray, error: np.ndarray, tolerance: float) -> bool:
    """Return whether f(x + error) equals f(x) to the tolerance, so that an iteration that only sees f has found x.

    To first order this is |J error|_i ≤ tolerance · (|z_i| + Σ_j |J_ij| |x_j|), relative to the terms of z, so that a
    map that shrinks everything does not excuse every error.
    """
    derived = first.derived
    if not finite(error).all():
        return False
    jacobian = derived.jacobian
    size = np.abs(nearest(derived.computed.value)) + nearest(np.abs(jacobian) @ np.abs(x))
    return bool((np.abs(nearest(jacobian @ error)) <= tolerance * size).all())


def moved(point: Point, size: float, *, everything: bool = True) -> Moved:
    """Return how far rounding of this size moves the results, either of constants alone or of `everything`.

    Raises:
        UnresolvedError: the program cannot be followed.
    """
    here, draws = point.value, point.moved(size, everything=everything)
    if any(draw.broken for draw in draws):
        return Moved(np.full(here.value.shape, np.inf), math.inf)
    value = np.max([_change(here.value, draw.value) for draw in draws], 0)
    broken = value > BROKEN * (1 + np.abs(nearest(here.value)))
    exact = np.asarray([here.log_det], object)
    log_det = max(float(_change(exact, np.asarray([draw.log_det], object))[0]) for draw in draws)
    return Moved(np.where(broken, np.inf, value), math.inf if log_det > BROKEN else log_det)


def _keep_zeros(zeros: tuple[int, ...], more: tuple[int, ...]) -> None:
    """Raise if more digits find other zeros: 1 − tanh(1000) is zero with 60 digits and with 120, but not with 1000."""
    if more != zeros:
        raise UnresolvedError("a difference is lost, however many digits are tried")


def _keep_pattern(point: Point) -> None:
    """Raise if zeros alone make the Jacobian singular, but moving the constants fills them.

    This happens if an argument of arctanh is clipped at 1 − ε, because the exact tanh(20) lies beyond.
    """
    derived = point.derived
    if not (derived.computed.uncertain and has_zero_pattern(nearest(derived.jacobian != 0))):
        return
    draws = [draw for size in (SIZE, -SIZE) for draw in point.derived_moved(size)]
    if not all(has_zero_pattern(nearest(draw.jacobian != 0)) for draw in draws):
        raise UnresolvedError("rounding of its constants decides whether the Jacobian is singular")


def condition_of(point: Point, analysis: Analysis) -> float:
    """Return the condition of the case, computed from the exact Jacobian and value."""
    derived = point.derived
    matrix = _inverse(point)
    if matrix is None:
        return math.inf
    log_det = analysis.log_det if np.isfinite(analysis.log_det) else np.asarray(float(derived.computed.log_det))
    exact = analysis._replace(
        jacobian=nearest(derived.jacobian), value=nearest(derived.computed.value), log_det=log_det
    )
    condition = determinant_condition(exact, matrix)
    return math.inf if math.isnan(condition) else condition


def _leeway(point: Point, analysis: Analysis, tolerance: float) -> float:
    """Return how far log_det and log|det J| may differ beyond the tolerance."""
    derived, leeway = point.derived, 0.0
    if derived.computed.uncertain and math.isfinite(derived.computed.log_det):
        gap = derived.computed.log_det - derived.log_abs_det
        draws = point.derived_moved(SIZE)
        change = max(float(abs(draw.computed.log_det - draw.log_abs_det - gap)) for draw in draws)
        # If all draws raise log|det J|, the determinant is close to zero, and other roundings may lower it without
        # limit. If all draws lower it, it belongs to an inverse, and other roundings may raise it without limit.
        away = [float(draw.log_abs_det - derived.log_abs_det) for draw in draws]
        beyond = (min(away) > BROKEN and gap < 0) or (max(away) < -BROKEN and gap > 0)
        leeway = math.inf if beyond else TIMES * change
    if derived.computed.approximate:
        leeway += SIZE * condition_of(point, analysis)
    return leeway


def _scale(first: Point, analysis: Analysis) -> np.ndarray:
    """Return the scale of a round trip, computed from the exact Jacobian; infinite if that is singular."""
    derived = first.derived
    matrix = None if derived.singular else _inverse(first)
    if matrix is None:
        return np.full(analysis.x.shape, np.inf)
    scale = round_trip_scale(analysis._replace(value=nearest(derived.computed.value)), matrix)
    return np.where(np.isnan(scale), np.inf, scale)


def _inverse(point: Point) -> np.ndarray | None:
    matrix = inverse_of(point.derived, point.spend)
    return None if matrix is None else np.abs(nearest(matrix))


def _change(here: np.ndarray, there: np.ndarray) -> np.ndarray:
    """Return |there − here|, which is infinite if one of them is not finite."""
    both = finite(here) & finite(there)
    change = np.full(here.shape, np.inf)
    change[both] = np.abs(nearest(there[both] - here[both]))
    return change
