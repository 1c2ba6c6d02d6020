"""The float64 checks on one event: finite numbers, the determinant of the full Jacobian, derivatives, round trips."""

from __future__ import annotations

import numpy as np

from mathdnn_jax.testing.condition import determinant_condition, inverse_matrix, tolerance_of
from mathdnn_jax.testing.determinant import log_abs_det
from mathdnn_jax.testing.diagnosis import diagnose
from mathdnn_jax.testing.differences import Differences
from mathdnn_jax.testing.failure import Failure
from mathdnn_jax.testing.programs import Analysis, Direction

NOT_FINITE = "value and log_det must be finite"
SINGULAR = "the Jacobian is singular, so the map is not a bijector and log_det cannot be a finite number"
ADMITTED = "the Jacobian is singular, so the map is not a bijector here"


def check_finite(direction: Direction, analysis: Analysis) -> Failure | None:
    """Check that value, log_det and Jacobian are finite, and that log_det does not admit to a singular Jacobian."""
    value, log_det, jacobian = analysis.value, float(analysis.log_det), analysis.jacobian
    numbers: list[tuple[str, object]] = [("log_det", log_det)]
    if np.isfinite(value).all() and np.isfinite(log_det):
        if np.isfinite(jacobian).all():
            return None
        return failure_at("finite", direction, analysis, "the Jacobian of the value must be finite", numbers)
    if log_det == -np.inf and np.isfinite(jacobian).all() and inverse_matrix(analysis) is None:
        sign, expected = log_abs_det(jacobian)
        numbers += [("log|det J|", float(expected)), ("sign of det J", float(sign))]
        return failure_at("singular", direction, analysis, ADMITTED, numbers)
    numbers.append(("value", value.reshape(direction.value_shape)))
    return failure_at("finite", direction, analysis, NOT_FINITE, numbers)


def overflows(analysis: Analysis) -> bool:
    """Return whether a result overflows at an event that is not small. Then the case is to blame, not the map."""
    value, log_det = analysis.value, float(analysis.log_det)
    if np.isnan(value).any() or np.isnan(log_det) or np.abs(analysis.x).max(initial=0) <= 1:
        return False
    return bool(np.isinf(value).any()) or log_det == np.inf


def check_log_det(direction: Direction, analysis: Analysis, tolerance: float) -> Failure | None:
    """Check log_det = log|det J| within tolerance · κ, both of which are derived in `condition`."""
    log_det, inverse = float(analysis.log_det), inverse_matrix(analysis)
    sign, expected = log_abs_det(analysis.jacobian)
    numbers: list[tuple[str, object]] = [("log_det", log_det), ("log|det J|", float(expected))]
    if inverse is None:
        return failure_at("singular", direction, analysis, SINGULAR, numbers)
    tolerance = max(tolerance_of(dtype, tolerance) for dtype in (analysis.value_dtype, analysis.log_det_dtype))
    allowed = tolerance * determinant_condition(analysis, inverse)
    if abs(log_det - expected) <= allowed:
        return None
    numbers += [
        ("difference", log_det - float(expected)),
        ("allowed", allowed),
        ("sign of det J", float(sign)),
    ]
    hints = diagnose(log_det, analysis.jacobian, direction.shape, allowed)
    return failure_at("log_det", direction, analysis, log_det_claim(direction), numbers, hints)


def log_det_claim(direction: Direction) -> str:
    """Return the claim that a wrong log_det breaks."""
    return f"{direction.name}'s log_det must be log|det J| of its own full Jacobian"


def is_decisive(analysis: Analysis, tolerance: float) -> bool:
    """Return whether float64 would notice a log_det that is off by a hundredth in this case."""
    inverse = inverse_matrix(analysis)
    if inverse is None:
        return False
    tolerance = max(tolerance_of(dtype, tolerance) for dtype in (analysis.value_dtype, analysis.log_det_dtype))
    return tolerance * determinant_condition(analysis, inverse) < 1e-2


def check_derivative(direction: Direction, analysis: Analysis, found: list[Differences]) -> Failure | None:
    """Check J dx against central differences (f(x + dx) − f(x − dx)) / 2, where |dx_j| = step · (1 + |x_j|)."""
    for one in found:
        if (one.excess > 0).any():
            i = int(one.excess.argmax())
            numbers: list[tuple[str, object]] = [
                ("(J dx)_i by autodiff", one.along[i]),
                ("by central differences", one.along[i] - one.gap[i]),
                ("i", tuple(int(k) for k in np.unravel_index(i, direction.value_shape))),
            ]
            hints = (
                "a derivative rule is wrong: stop_gradient of something that depends on x, a custom_jvp or custom_vjp, "
                "rounding with a straight-through gradient, or autodiff through a root finder",
            )
            claim = f"{direction.name}'s derivative by autodiff must be the derivative of its values"
            return failure_at("derivative", direction, analysis, claim, numbers, hints)
    return None


def check_returned(what: str, first: Direction, there: Analysis, back: Analysis, allowed: np.ndarray) -> Failure | None:
    """Check that the second map returns the event that the first one was given, up to `allowed` for each entry."""
    off = np.abs(back.value - there.x)
    wrong = ~(off <= allowed)
    if not wrong.any():
        return None
    i = int(np.where(wrong, np.nan_to_num(off, nan=np.inf) / allowed, -1).argmax())
    product = back.jacobian @ there.jacobian - np.eye(there.x.size)
    picture = (f"Jacobian of {what}, minus the identity", np.where(np.abs(product) < 1e-6, 0.0, product))
    return returned_failure(what, first, there, (back.value, allowed, wrong), i)._replace(picture=picture)


def returned_failure(
    what: str, first: Direction, there: Analysis, found: tuple[np.ndarray, np.ndarray, np.ndarray], i: int
) -> Failure:
    """Return the failure of a round trip that begins with `first`.

    Args:
        what: the round trip, such as inverse(forward(x)).
        first: the map that is applied first.
        there: that map in float64.
        found: the event that comes back, how far each entry may be off, and which entries are off by more.
        i: the entry whose numbers are shown.
    """
    back, allowed, wrong = found
    numbers: tuple[tuple[str, object], ...] = (
        (what, back[i]),
        ("expected", there.x[i]),
        ("allowed difference", allowed[i]),
        ("entry", tuple(int(k) for k in np.unravel_index(i, first.shape))),
        ("wrong entries", f"{int(wrong.sum())} of {wrong.size}"),
    )
    claim = f"{what} must equal {'x' if first.name == 'forward' else 'z'}"
    return Failure("round_trip", first.name, claim, numbers, there.x.reshape(first.shape))


def failure_at(
    check: str,
    direction: Direction,
    analysis: Analysis,
    claim: str,
    numbers: list[tuple[str, object]],
    hints: tuple[str, ...] = (),
) -> Failure:
    """Return a failure at an event, with a picture of its Jacobian."""
    event = analysis.x.reshape(direction.shape)
    picture = (f"Jacobian of {direction.name}", analysis.jacobian)
    shown = None if check in ("gradient", "onto") else picture
    return Failure(check, direction.name, claim, tuple(numbers), event, hints, shown)


def neighbours(x: np.ndarray, count: int = 4, distance: float = 1e-4) -> np.ndarray:
    """Return points around x, with each entry moved by about `distance` of its scale."""
    rng = np.random.default_rng(1)
    size = distance * (1 + np.abs(x)) * rng.uniform(0.5, 1, (count, *x.shape))
    return np.asarray(x + size * rng.choice([-1.0, 1.0], (count, *x.shape)))
