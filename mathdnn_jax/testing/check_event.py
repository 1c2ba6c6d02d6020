"""The checks on one event in float64: numbers, the determinant of the full Jacobian, derivatives and gradients."""

from __future__ import annotations

import numpy as np

from mathdnn_jax.testing.condition import determinant_condition, inverse_matrix, tolerance_of
from mathdnn_jax.testing.determinant import log_abs_det
from mathdnn_jax.testing.diagnosis import guesses
from mathdnn_jax.testing.differences import Differences
from mathdnn_jax.testing.finding import Finding
from mathdnn_jax.testing.programs import Analysis, Direction

NOT_FINITE = "value and log_det must be finite"
SINGULAR = "the Jacobian is singular, so the map is no bijector, and log_det cannot be a number"
ADMITTED = "the Jacobian is singular: the map is no bijector here"


def check_finite(direction: Direction, analysis: Analysis) -> Finding | None:
    """Value, log_det and Jacobian are numbers, and the Jacobian is no singular matrix that log_det admits to."""
    value, log_det, jacobian = analysis.value, float(analysis.log_det), analysis.jacobian
    numbers: list[tuple[str, object]] = [("log_det", log_det)]
    if np.isfinite(value).all() and np.isfinite(log_det):
        if np.isfinite(jacobian).all():
            return None
        return finding_of("finite", direction, analysis, "the Jacobian of the value must be finite", numbers)
    if log_det == -np.inf and np.isfinite(jacobian).all() and inverse_matrix(analysis) is None:
        sign, expected = log_abs_det(jacobian)
        numbers += [("log|det J|", float(expected)), ("sign of det J", float(sign))]
        return finding_of("singular", direction, analysis, ADMITTED, numbers)
    numbers.append(("value", value.reshape(direction.value_shape)))
    return finding_of("finite", direction, analysis, NOT_FINITE, numbers)


def overflows(analysis: Analysis) -> bool:
    """Whether a result left the range of float64 at an event that is not small: the case's fault, not the map's."""
    value, log_det = analysis.value, float(analysis.log_det)
    if np.isnan(value).any() or np.isnan(log_det) or np.abs(analysis.x).max(initial=0) <= 1:
        return False
    return bool(np.isinf(value).any()) or log_det == np.inf


def check_log_det(direction: Direction, analysis: Analysis, tolerance: float) -> Finding | None:
    """log_det = log|det J| within tolerance · κ, both derived in `condition`."""
    log_det, inverse = float(analysis.log_det), inverse_matrix(analysis)
    sign, expected = log_abs_det(analysis.jacobian)
    numbers: list[tuple[str, object]] = [("log_det", log_det), ("log|det J|", float(expected))]
    if inverse is None:
        return finding_of("singular", direction, analysis, SINGULAR, numbers)
    tolerance = max(tolerance_of(dtype, tolerance) for dtype in (analysis.value_dtype, analysis.log_det_dtype))
    allowed = tolerance * determinant_condition(analysis, inverse)
    if abs(log_det - expected) <= allowed:
        return None
    numbers += [
        ("difference", log_det - float(expected)),
        ("allowed", allowed),
        ("sign of det J", float(sign)),
    ]
    hints = guesses(log_det, analysis.jacobian, direction.shape, allowed)
    return finding_of("log_det", direction, analysis, log_det_claim(direction), numbers, hints)


def log_det_claim(direction: Direction) -> str:
    """Return the claim that a failed log_det breaks."""
    return f"{direction.name}'s log_det must be log|det J| of its own full Jacobian"


def decides(analysis: Analysis, tolerance: float) -> bool:
    """Whether a log_det that is off by a hundredth would have been seen in this case."""
    inverse = inverse_matrix(analysis)
    if inverse is None:
        return False
    tolerance = max(tolerance_of(dtype, tolerance) for dtype in (analysis.value_dtype, analysis.log_det_dtype))
    return tolerance * determinant_condition(analysis, inverse) < 1e-2


def check_derivative(direction: Direction, analysis: Analysis, found: list[Differences]) -> Finding | None:
    """J dx agrees with central differences (f(x + dx) − f(x − dx)) / 2, where |dx_j| = step · (1 + |x_j|)."""
    for one in found:
        if (one.excess > 0).any():
            i = int(one.excess.argmax())
            numbers: list[tuple[str, object]] = [
                ("(J dx)_i by autodiff", one.along[i]),
                ("by central differences", one.along[i] - one.gap[i]),
                ("i", tuple(int(k) for k in np.unravel_index(i, direction.value_shape))),
            ]
            hints = (
                "a rule of differentiation is wrong: stop_gradient on what depends on x, a custom_jvp or custom_vjp, "
                "rounding with a straight-through gradient, or autodiff through a root finder",
            )
            claim = f"{direction.name}'s derivative by autodiff must be the derivative of its values"
            return finding_of("derivative", direction, analysis, claim, numbers, hints)
    return None


def check_gradients(direction: Direction, analysis: Analysis) -> Finding | None:
    """The gradients of value and log_det are finite, in x and in every parameter."""
    broken = []
    if not np.isfinite(analysis.log_det_gradient).all():
        broken.append("∂ log_det / ∂x (forward mode)")
    if analysis.gradients is not None:
        for name, (leaves, x) in zip(("value", "log_det"), analysis.gradients, strict=True):
            if not x:
                broken.append(f"∂ {name} / ∂x")
            broken += [f"∂ {name} / ∂(leaf {k} of parameters and context)" for k, fine in enumerate(leaves) if not fine]
    if not broken:
        return None
    hints = (
        "sqrt, log or a power has an infinite slope at zero; a where that selects the good branch afterwards does not "
        "help, since 0 · ∞ is NaN: make the argument safe before the function too",
    )
    numbers: list[tuple[str, object]] = [("not finite", ", ".join(broken))]
    return finding_of("gradient", direction, analysis, "gradients must be finite", numbers, hints)


def finding_of(
    check: str,
    direction: Direction,
    analysis: Analysis,
    claim: str,
    numbers: list[tuple[str, object]],
    hints: tuple[str, ...] = (),
) -> Finding:
    """Return a finding about an event, with a picture of its Jacobian."""
    event = analysis.x.reshape(direction.shape)
    picture = (f"Jacobian of {direction.name}", analysis.jacobian)
    shown = None if check == "gradient" else picture
    return Finding(check, direction.name, claim, tuple(numbers), event, hints, shown)


def neighbours(x: np.ndarray, count: int = 4, distance: float = 1e-4) -> np.ndarray:
    """Points around x, each entry moved by about `distance` of its scale."""
    rng = np.random.default_rng(1)
    size = distance * (1 + np.abs(x)) * rng.uniform(0.5, 1, (count, *x.shape))
    return np.asarray(x + size * rng.choice([-1.0, 1.0], (count, *x.shape)))
