"""The checks of gradients: all are finite, and they are the derivatives of value and log_det."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from mathdnn_jax.testing.check_float64 import failure_at
from mathdnn_jax.testing.condition import EPS, Slack, determinant_condition, inverse_matrix
from mathdnn_jax.testing.differences import term_magnitude
from mathdnn_jax.testing.failure import Failure
from mathdnn_jax.testing.gradients import Comparison, Slopes, compared, weights
from mathdnn_jax.testing.programs import DIFFERENCES, Analysis, Direction

ROUNDINGS = 16
"""A value or log_det is assumed to be known to this many ε times the magnitude of its terms."""


def check_finite_gradients(direction: Direction, analysis: Analysis) -> Failure | None:
    """Check that the gradients of value and log_det with respect to x and every parameter are finite."""
    broken = []
    if not np.isfinite(analysis.log_det_gradient).all():
        broken.append("∂ log_det / ∂x (forward mode)")
    if analysis.slopes is not None:
        for name, pulled in (("value", analysis.slopes.value), ("log_det", analysis.slopes.log_det)):
            if not np.isfinite(pulled.x).all():
                broken.append(f"∂ {name} / ∂x")
            broken += [
                f"∂ {name} / ∂(leaf {k} of parameters and context)"
                for k, leaf in enumerate(pulled.leaves)
                if not np.isfinite(leaf).all()
            ]
    if not broken:
        return None
    hints = (
        "sqrt, log and powers have an infinite slope at zero; selecting the good branch with where afterwards does not "
        "help, because 0 · ∞ is NaN: make the argument safe with another where, before the function is called",
    )
    numbers: list[tuple[str, object]] = [("not finite", ", ".join(broken))]
    return failure_at("gradient", direction, analysis, "gradients must be finite", numbers, hints)


def wrong_gradients(analysis: Analysis, slack: Slack) -> Iterator[Comparison]:
    """Yield the comparisons in which a gradient is not the derivative, within what they allow and `slack`.

    The derivative of the value in forward mode is the Jacobian, which is checked by itself.
    """
    return (one for one in _comparisons(analysis, slack) if one.is_wrong)


def gradient_failure(direction: Direction, analysis: Analysis, found: Comparison) -> Failure:
    """Return the failure of a gradient that is not the derivative."""
    numbers: list[tuple[str, object]] = [
        (f"{found.what}, along a tangent", found.along),
        ("by central differences", found.difference),
        ("allowed difference", found.allowed),
    ]
    hints = (
        "a derivative is stopped or replaced on the way: stop_gradient of something that depends on x or the "
        "parameters, a custom_jvp or custom_vjp, detach, or autodiff through a root finder",
    )
    claim = f"{direction.name}'s gradients by autodiff must be the derivatives of its value and log_det"
    return failure_at("gradient", direction, analysis, claim, numbers, hints)


def _comparisons(analysis: Analysis, slack: Slack) -> Iterator[Comparison]:
    """Yield the comparisons that are possible: none along tangents that leave the domain."""
    inverse = inverse_matrix(analysis)
    if inverse is None:
        return
    log_det = float(analysis.log_det)
    rounding = ROUNDINGS * _eps(analysis.log_det_dtype) * determinant_condition(analysis, inverse) + slack.log_det
    sides = zip(analysis.ahead_log_det, analysis.behind_log_det, analysis.tangents, strict=True)
    for k, (ahead, behind, tangent) in enumerate(sides):
        name = ("∂ log_det / ∂x (forward mode)", "log_det", k, False)
        yield compared(name, analysis.log_det_gradient, tangent, (ahead, log_det, behind), rounding)
    if analysis.slopes is None:
        return
    slopes, w = analysis.slopes, np.asarray(weights(analysis.value.shape))
    magnitude = w @ term_magnitude(analysis.jacobian, analysis.x, analysis.value)
    value_rounding = ROUNDINGS * _eps(analysis.value_dtype) * (magnitude + _terms(slopes)) + float(w @ slack.value)
    for k in range(DIFFERENCES):
        tangent = np.concatenate([*(turn[k] for turn in slopes.turns), analysis.tangents[k]])
        moved = (slopes.moved_value[k], analysis.value, slopes.moved_value[DIFFERENCES + k])
        gradient = np.concatenate([*slopes.value.leaves, slopes.value.x])
        name = ("∂ value / ∂(parameters, context, x)", "value", k, True)
        yield compared(name, gradient, tangent, [w @ value for value in moved], value_rounding)
        log_dets = (slopes.moved_log_det[k], log_det, slopes.moved_log_det[DIFFERENCES + k])
        gradient = np.concatenate([*slopes.log_det.leaves, slopes.log_det.x])
        name = ("∂ log_det / ∂(parameters, context, x)", "log_det", k, True)
        yield compared(name, gradient, tangent, log_dets, rounding)


def _terms(slopes: Slopes) -> float:
    """Return Σ |∂ value / ∂θ| |θ| over all leaves, the magnitude of the terms that they contribute."""
    pairs = zip(slopes.value.leaves, slopes.leaves, strict=True)
    return float(sum(np.abs(gradient) @ np.abs(leaf) for gradient, leaf in pairs))


def _eps(dtype: np.dtype[Any]) -> float:
    return EPS if dtype == np.float64 else float(np.finfo(np.float32).eps)
