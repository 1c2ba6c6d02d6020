"""What a case can bear: every bound of the checker, derived from the condition of the case.

**Determinants.** A map in floating-point knows its output to a relative ε, and the entries of its Jacobian no better
than |J_ij| ε + (|z_i| / max(1, |x_j|)) ε: an entry is a ratio of changes in z to changes in x. To first order
d log|det J| = tr(J⁻¹ dJ), so that these move log|det J| by at most κ_J ε with

    κ_J = Σ_ij |J⁻¹_ji| (|J_ij| + |z_i| / max(1, |x_j|)).

The reported log_det and log|det J| both answer to their arguments; a relative change h of event, parameters and context
(1 + |entry| is an entry's scale) moves log_det by κ_x h, with κ_x measured in eight random directions. The condition of
the case is κ = 1 + |log_det| + κ_J + κ_x, and the two numbers may differ by tolerance · κ. Where tolerance · κ is a
hundredth or more, or the Jacobian has lost all its digits (tanh at 20), float64 decides nothing.

**Round trips.** A relative ε in z moves x by Σ_i |J⁻¹_ji| |z_i| ε: x_j comes back to tolerance · (1 + |x_j| + that).

**High precision.** The entries of a float64 Jacobian do not show all of their rounding. J = L U is off by ε Σ_k |L_ik|
|U_kj|, which may be far more than ε |J_ij|; a map near to A⁻¹ behind A has a Jacobian near to the identity whose
entries are off by ε times the condition of A. No bound that looks at J alone can be trusted to accuse. So what float64
finds wrong, and what it cannot decide, is judged again in exact arithmetic: the traced program of the map and of its
Jacobian is evaluated at 60 digits or more, until more digits agree. A formula is right there where it holds to
tolerance · (1 + |result|), and to what its constants explain, which are float64 roundings of what was meant; see
`high_precision.verdict`. A program that iterates is right to float64 only, and is given 64 ε times the condition, or
any x whose image is z to the tolerance. A Jacobian is singular where its determinant is as small as the digits make it,
at any number of digits up to 1000, unless rounding of constants fills the zeros that make it so. What float64 reported
may then be off from the exact result by tolerance · κ, with the exact J in κ, and by four times what moving arguments
and constants by 64 ε, and each sum or solve by 64 ε of its terms, makes of it; a formula that cancels beyond that is
right, and its arithmetic is poor.

A program that high precision cannot follow (PyTorch's, a primitive that it does not know, one that takes too long), and
the derivative of one whose value is rounded to less than float64, which high precision does not follow either, is
accused only where float64 decides, and where float32 shows that nothing is hidden: its value, log_det and log|det J|
are those of float64 to a hundredth; and it is called singular only where zeros alone make the Jacobian so.

**float32.** h = 32 ε₃₂ stands for the roundings of a computation of moderate depth. Against float64 at the same point
(cases are drawn as float32 numbers, so that nothing is rounded on the way in) a float32 result may be off by four times
what moving parameters, context and event by h moves it (the greatest of eight directions; four, because roundings enter
between layers and at hidden weights too, where nothing can be moved), or by what moving them by 4 h does, if that is
more (a sigmoid is flat until the rounding of its large argument has another sign), plus h (1 + |result|), where
log_det, a sum over n entries, has h (n + |log_det|). Within h of an end of its support an event is not tried in
float32. A formula that cancels (log(1 − tanh² x) for large x) errs by far more than its argument's rounding explains.

A matrix that a map closes over cannot be moved from outside, and rounding moves it as it does parameters: a solve with
it is off by h times its condition. So a result beyond that bound is given what moving constants, arguments, and each
sum or solve by h makes of the exact result, four times; and everything where that is more than half of 1 + |value|, or
a half for log_det, or takes a pivot to zero: the condition is beyond float32. Where high precision cannot follow, a map
K x is given what relative changes of 4 h of K itself make of it, Σ_k |K_ik| Σ_j |K⁻¹_kj| |z_j| and Σ_ij |K⁻¹_ji|
|K_ij|; and everything where the Jacobian in float32 is off by more than 16 roundings, which a poor formula leaves as it
is.

**Sameness** (jit, batch, vmap in float64): tolerance · (1 + |result| + κ_x of that entry); and, for a result beyond
that, four times the error that float64 makes here, and four times what moving constants, arguments, sums and solves by
64 ε makes of the exact result. A result that is float32 although the arguments are float64 is judged by 128 ε₃₂ in
place of the tolerance.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from mathdnn_jax.testing.determinant import equilibrated
from mathdnn_jax.testing.programs import FAR, STEP, Analysis

EPS = float(np.finfo(np.float64).eps)
FLOAT32_TOLERANCE = 128 * float(np.finfo(np.float32).eps)


class Slack(NamedTuple):
    """How far value and log_det may be off beyond a bound that knows only the arguments. It may be infinite."""

    value: np.ndarray
    log_det: float


def no_slack(analysis: Analysis) -> Slack:
    """Return a slack of zero."""
    return Slack(np.zeros(analysis.value.shape), 0.0)


def unlimited(analysis: Analysis) -> Slack:
    """Return an infinite slack."""
    return Slack(np.full(analysis.value.shape, np.inf), np.inf)


def tolerance_of(dtype: np.dtype[Any], tolerance: float) -> float:
    """The tolerance for a result of this dtype."""
    return max(tolerance, 0.0 if dtype == np.float64 else FLOAT32_TOLERANCE)


def inverse_matrix(analysis: Analysis) -> np.ndarray | None:
    """|J⁻¹|, or None where J is singular to working precision.

    Rows and columns are scaled first, since a map that stretches its entries differently is no worse for it.
    """
    if not np.isfinite(analysis.jacobian).all():
        return None
    scaled = equilibrated(analysis.jacobian)
    if scaled is None:
        return None
    matrix, rows, columns = scaled
    values = np.linalg.svd(matrix, compute_uv=False)
    if values.size and values[-1] <= values.size * EPS * values[0]:
        return None
    with np.errstate(over="ignore", under="ignore"):
        return np.asarray(np.ldexp(np.abs(np.linalg.inv(matrix)), -(rows + columns[:, None])))


def changes(values: np.ndarray, moved: np.ndarray) -> np.ndarray:
    """The greatest change of each entry over the moved points; those outside the map's domain say nothing."""
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(np.isfinite(moved), np.abs(moved - values), 0.0).max(0, initial=0.0))


def determinant_condition(analysis: Analysis, inverse: np.ndarray) -> float:
    """κ of the module's docstring."""
    scale = 1 / np.maximum(1, np.abs(analysis.x))
    entries = np.abs(analysis.jacobian) + np.outer(np.abs(analysis.value), scale)
    # What is zero stays zero, however large the inverse's entry is.
    terms = np.multiply(inverse.T, entries, where=entries != 0, out=np.zeros(entries.shape))
    kappa = float(terms.sum()) + float(changes(analysis.log_det, analysis.moved_log_det)) / STEP
    return 1 + abs(float(analysis.log_det)) + kappa


def round_trip_scale(analysis: Analysis, inverse: np.ndarray) -> np.ndarray:
    """1 + |x_j| + Σ_i |J⁻¹_ji| |z_i|."""
    return np.asarray(1 + np.abs(analysis.x) + inverse @ np.abs(analysis.value))


def consistency_scale(values: np.ndarray, moved: np.ndarray) -> np.ndarray:
    """1 + |result| + κ_x."""
    return np.asarray(1 + np.abs(values) + changes(values, moved) / STEP)


def float32_bounds(analysis: Analysis) -> tuple[np.ndarray, float]:
    """How far value and log_det may be off in float32; infinite where a move of h leaves the map's domain."""

    def bound(values: np.ndarray, moved: np.ndarray, far: np.ndarray, terms: int) -> np.ndarray:
        inside = np.isfinite(moved).all(0) & np.isfinite(far).all(0) & np.isfinite(values)
        change = np.maximum(FAR * changes(values, moved), changes(values, far))
        return np.where(inside, change + STEP * (terms + np.abs(values)), np.inf)

    value = bound(analysis.value, analysis.moved_value, analysis.far_value, 1)
    terms = max(1, analysis.x.size)
    return value, float(bound(analysis.log_det, analysis.moved_log_det, analysis.far_log_det, terms))


def matrix_slack(analysis: Analysis, size: float) -> Slack:
    """Return how far relative changes of this size of the matrix of a linear map, or of its inverse, move the results.

    With the Jacobian K, value moves by size · Σ_k |K_ik| Σ_j |K⁻¹_kj| |z_j| and log_det by size · Σ_ij |K⁻¹_ji| |K_ij|.
    Where that is more than half of 1 + |z_i|, or more than a half, the slack is infinite.
    """
    inverse = inverse_matrix(analysis)
    if inverse is None:
        return unlimited(analysis)
    matrix, scale = np.abs(analysis.jacobian), np.abs(analysis.value)
    value, log_det = size * matrix @ (inverse @ scale), size * float((inverse.T * matrix).sum())
    return Slack(np.where(value <= (1 + scale) / 2, value, np.inf), log_det if log_det <= 0.5 else np.inf)
