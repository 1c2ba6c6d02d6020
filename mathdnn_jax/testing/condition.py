"""What a case can bear: every bound of the checker, derived from the condition of the case.

**Determinants.** A map in floating-point knows its output to a relative ε, and the entries of its Jacobian no better
than |J_ij| ε + (|z_i| / max(1, |x_j|)) ε: an entry is a ratio of changes in z to changes in x. To first order
d log|det J| = tr(J⁻¹ dJ), so that these move log|det J| by at most κ_J ε with

    κ_J = Σ_ij |J⁻¹_ji| (|J_ij| + |z_i| / max(1, |x_j|)).

The reported log_det and log|det J| both answer to their arguments; a relative change h of event, parameters and context
(1 + |entry| is an entry's scale) moves log_det by κ_x h, with κ_x measured in eight random directions. The condition of
the case is κ = 1 + |log_det| + κ_J + κ_x, and the two numbers may differ by tolerance · κ. Where κ_J is infinite the
Jacobian has lost all its digits (tanh at 20), and the case decides nothing.

**Round trips.** A relative ε in z moves x by Σ_i |J⁻¹_ji| |z_i| ε: x_j comes back to tolerance · (1 + |x_j| + that).

**float32.** h = 32 ε₃₂ stands for the roundings of a computation of moderate depth. Against float64 at the same point
(cases are drawn as float32 numbers, so that nothing is rounded on the way in) a float32 result may be off by four times
what moving parameters, context and event by h moves it (the greatest of eight directions; four, because roundings enter
between layers and at hidden weights too, where nothing can be moved), or by what moving them by 4 h does, if that is
more (a sigmoid is flat until the rounding of its large argument has another sign), plus h (1 + |result|), where
log_det, a sum over n entries, has h (n + |log_det|). Within h of an end of its support an event is not tried in
float32. A formula that cancels (log(1 − tanh² x) for large x) errs by far more than its argument's rounding explains.

**Sameness** (jit, batch, vmap in float64): tolerance · (1 + |result| + κ_x of that entry). A result that is float32
although the arguments are float64 is judged by 128 ε₃₂ in place of the tolerance.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from mathdnn_jax.testing.determinant import equilibrated
from mathdnn_jax.testing.programs import FAR, STEP, Analysis

EPS = float(np.finfo(np.float64).eps)
FLOAT32_TOLERANCE = 128 * float(np.finfo(np.float32).eps)


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
    kappa = float((inverse.T * entries).sum()) + float(changes(analysis.log_det, analysis.moved_log_det)) / STEP
    return 1 + abs(float(analysis.log_det)) + kappa


def round_trip_scale(analysis: Analysis, inverse: np.ndarray) -> np.ndarray:
    """1 + |x_j| + Σ_i |J⁻¹_ji| |z_i|."""
    return np.asarray(1 + np.abs(analysis.x) + inverse @ np.abs(analysis.value))


def sameness_scale(values: np.ndarray, moved: np.ndarray) -> np.ndarray:
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


def lost_to_rounding(analysis: Analysis) -> bool:
    """Whether a singular Jacobian is what rounding makes of the reported log_det.

    With R = diag(1 / |z|) J diag(max(1, |x|)), rounding moves each entry of R by about ε, so that the determinant is
    known no better than with every singular value raised to 16 n ε. A reported log_det below that cannot be told
    from it.
    """
    rows, columns = np.maximum(np.abs(analysis.value), np.finfo(np.float64).tiny), np.maximum(1, np.abs(analysis.x))
    if not np.isfinite(analysis.jacobian).all():
        return False
    with np.errstate(over="ignore"):
        scaled = analysis.jacobian * columns / rows[:, None]
    if not np.isfinite(scaled).all():
        return False
    values = np.linalg.svd(scaled, compute_uv=False)
    most = float(np.log(np.maximum(values, 16 * values.size * EPS)).sum())
    return float(analysis.log_det) + float(np.log(columns).sum() - np.log(rows).sum()) <= most
