"""The bounds of the checker, all of which are derived from the condition of a case.

**Determinants.** In floating point, a map knows its output to a relative ε, and the entries of its Jacobian no better
than |J_ij| ε + (|z_i| / max(1, |x_j|)) ε, because an entry is a ratio of changes in z to changes in x. To first order
d log|det J| = tr(J⁻¹ dJ), so these errors move log|det J| by at most κ_J ε with

    κ_J = Σ_ij |J⁻¹_ji| (|J_ij| + |z_i| / max(1, |x_j|)).

The reported log_det and log|det J| both depend on their arguments. A relative change h of event, parameters and context
(relative to 1 + |entry|) moves log_det by κ_x h, where κ_x is measured in eight random directions. The condition of the
case is κ = 1 + |log_det| + κ_J + κ_x, and the two numbers may differ by tolerance · κ. If tolerance · κ is a hundredth
or more, or the Jacobian has lost all its digits (tanh at 20), float64 cannot decide anything.

**Round trips.** A relative ε in z moves x by Σ_i |J⁻¹_ji| |z_i| ε, so x_j must come back to within
tolerance · (1 + |x_j| + Σ_i |J⁻¹_ji| |z_i|).

**High precision.** The entries of a float64 Jacobian do not show all of their rounding. J = L U is off by ε Σ_k |L_ik|
|U_kj|, which may be far more than ε |J_ij|. If A is followed by a map close to A⁻¹, the Jacobian is close to the
identity, but its entries are off by ε times the condition of A. So no bound that looks at J alone is reliable enough to
call a map wrong. Whatever float64 finds wrong, and whatever it cannot decide, is therefore checked again in exact
arithmetic: the traced program of the map and its Jacobian is evaluated with 60 digits or more, until more digits agree.
A formula is right if it then holds to tolerance · (1 + |result|) and to what its constants explain, which are float64
roundings of the intended numbers; see `high_precision.verdict`. A program that iterates is right to float64 only, so it
is allowed 64 ε times the condition, or any x whose image is z to the tolerance. A Jacobian is singular if its
determinant is as small as the number of digits makes it, for any number of digits up to 1000, unless rounding of
constants fills the zeros that make it singular. The float64 results may then differ from the exact ones by
tolerance · κ, with the exact J in κ, plus four times the change that results from moving arguments and constants by
64 ε, and each sum or solve by 64 ε of its terms. A formula that cancels by more than that is right, but its arithmetic
is poor.

High precision cannot follow every program: not PyTorch's, not an unsupported primitive, and not one that takes too
long. Nor does it follow the derivative of a program whose value is rounded to less than float64. Such a map is called
wrong only if float64 decides, and if float32 shows that nothing is hidden: its value, log_det and log|det J| must agree
with float64 to a hundredth. It is called singular only if the zeros of the Jacobian alone make it so.

**float32.** h = 32 ε₃₂ stands for the roundings of a computation of moderate depth. Cases are drawn as float32 numbers,
so nothing is rounded on the way in, and float32 is compared with float64 at the same point. A float32 result may be off
by four times the change that results from moving parameters, context and event by h (the largest of eight directions;
four, because roundings also occur between layers and at hidden weights, where nothing can be moved). If moving them by
4 h changes more, that change is allowed instead (a sigmoid is flat until the rounding of its large argument has another
sign). Added to that is h (1 + |result|), or h (n + |log_det|) for log_det, which is a sum over n entries. An event that
is within h of an end of its support is not tried in float32. A formula that cancels (log(1 − tanh² x) for large x) errs
by far more than the rounding of its argument explains.

A matrix that a map closes over cannot be moved from outside, but rounding moves it as it moves parameters: a solve with
it is off by h times its condition. So a result beyond that bound is also allowed four times the change of the exact
result when constants, arguments, and each sum or solve are moved by h. Anything is allowed if that is more than half of
1 + |value|, or more than a half for log_det, or makes a pivot zero, because the condition is then beyond float32. If
high precision cannot follow, a map K x is allowed the effect of relative changes of 4 h of K itself, which are
Σ_k |K_ik| Σ_j |K⁻¹_kj| |z_j| and Σ_ij |K⁻¹_ji| |K_ij|. Anything is allowed if the Jacobian in float32 is off by more
than 16 roundings, which a poor formula for the value would not change.

**Consistency** (jit, batch, vmap in float64). The bound is tolerance · (1 + |result| + κ_x of that entry). A result
beyond it is also allowed four times the error of float64 here, and four times the change of the exact result when
constants, arguments, sums and solves are moved by 64 ε. A result that is float32 although the arguments are float64 is
compared with 128 ε₃₂ in place of the tolerance.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from mathdnn_jax.testing.determinant import equilibrated
from mathdnn_jax.testing.programs import FAR, STEP, Analysis

EPS = float(np.finfo(np.float64).eps)
FLOAT32_TOLERANCE = 128 * float(np.finfo(np.float32).eps)


class Slack(NamedTuple):
    """How far value and log_det may be off beyond a bound that only considers the arguments. It may be infinite."""

    value: np.ndarray
    log_det: float


def no_slack(analysis: Analysis) -> Slack:
    """Return a slack of zero."""
    return Slack(np.zeros(analysis.value.shape), 0.0)


def unlimited(analysis: Analysis) -> Slack:
    """Return an infinite slack."""
    return Slack(np.full(analysis.value.shape, np.inf), np.inf)


def tolerance_of(dtype: np.dtype[Any], tolerance: float) -> float:
    """Return the tolerance for a result of this dtype."""
    return max(tolerance, 0.0 if dtype == np.float64 else FLOAT32_TOLERANCE)


def inverse_matrix(analysis: Analysis) -> np.ndarray | None:
    """Return |J⁻¹|, or None if J is singular to working precision.

    Rows and columns are scaled first, because stretching entries differently does not make a map worse.
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
    return np.asarray(np.ldexp(np.abs(np.linalg.inv(matrix)), -(rows + columns[:, None])))


def changes(values: np.ndarray, moved: np.ndarray) -> np.ndarray:
    """Return the largest change of each entry over the moved points that lie in the map's domain."""
    return np.asarray(np.where(np.isfinite(moved), np.abs(moved - values), 0.0).max(0, initial=0.0))


def determinant_condition(analysis: Analysis, inverse: np.ndarray) -> float:
    """Return κ of the module's docstring."""
    scale = 1 / np.maximum(1, np.abs(analysis.x))
    entries = np.abs(analysis.jacobian) + np.outer(np.abs(analysis.value), scale)
    # A zero stays zero, however large the entry of the inverse is.
    terms = np.multiply(inverse.T, entries, where=entries != 0, out=np.zeros(entries.shape))
    kappa = float(terms.sum()) + float(changes(analysis.log_det, analysis.moved_log_det)) / STEP
    return 1 + abs(float(analysis.log_det)) + kappa


def round_trip_scale(analysis: Analysis, inverse: np.ndarray) -> np.ndarray:
    """Return 1 + |x_j| + Σ_i |J⁻¹_ji| |z_i|."""
    return np.asarray(1 + np.abs(analysis.x) + inverse @ np.abs(analysis.value))


def consistency_scale(values: np.ndarray, moved: np.ndarray) -> np.ndarray:
    """Return 1 + |result| + κ_x."""
    return np.asarray(1 + np.abs(values) + changes(values, moved) / STEP)


def float32_bounds(analysis: Analysis) -> tuple[np.ndarray, float]:
    """Return how far value and log_det may be off in float32, infinite if a move of h leaves the map's domain."""

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
    If that is more than half of 1 + |z_i|, or more than a half for log_det, the slack is infinite.
    """
    inverse = inverse_matrix(analysis)
    if inverse is None:
        return unlimited(analysis)
    matrix, scale = np.abs(analysis.jacobian), np.abs(analysis.value)
    value, log_det = size * matrix @ (inverse @ scale), size * float((inverse.T * matrix).sum())
    return Slack(np.where(value <= (1 + scale) / 2, value, np.inf), log_det if log_det <= 0.5 else np.inf)
