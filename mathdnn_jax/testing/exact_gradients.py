"""Gradients beside central differences in high precision, for values whose float64 differences are lost in rounding."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from mathdnn_jax.testing.cases import Case, is_float
from mathdnn_jax.testing.condition import EPS
from mathdnn_jax.testing.gradients import Comparison, weights
from mathdnn_jax.testing.high_precision.numbers import UnresolvedError
from mathdnn_jax.testing.high_precision.point import Point
from mathdnn_jax.testing.high_precision.settle import Spend
from mathdnn_jax.testing.programs import Analysis, Direction


def exactly(
    found: Comparison, direction: Direction, case: Case, analysis: Analysis, spend: Spend, tolerance: float
) -> Comparison:
    """Return a comparison with the exact difference of the values in place of that of float64.

    The value of a program that iterates is only right to some tolerance of its own, so it is allowed that of the check.

    Raises:
        UnresolvedError: high precision cannot follow the program.
    """
    ahead, here, behind = (_exact(found, sign, direction, case, analysis, spend) for sign in (1, 0, -1))
    rounding = 0.0
    if any(number[1] for number in (ahead, here, behind)):
        rounding = max(4 * EPS, tolerance) * (1 + abs(float(here[0])))
    bend = abs(float(ahead[0] - 2 * here[0] + behind[0]))
    return found._replace(difference=float((ahead[0] - behind[0]) / 2), bend=bend, rounding=rounding)


def _exact(
    found: Comparison, sign: int, direction: Direction, case: Case, analysis: Analysis, spend: Spend
) -> tuple[Any, bool]:
    """Return the function's exact value on one side of the tangent, or here, and whether it is only approximate."""
    x = (analysis.x + sign * analysis.tangents[found.tangent]).reshape(direction.shape)
    params, context = case.params, case.context
    if found.joint and analysis.slopes is not None:
        turns = iter(analysis.slopes.turns)

        def turned(leaf: Any) -> Any:
            if not is_float(leaf):
                return leaf
            value = np.asarray(leaf, np.float64)
            return value + sign * next(turns)[found.tangent].reshape(value.shape)

        params, context = jax.tree.map(turned, (params, context))
    value = Point(direction, params, context, x, spend=spend).value
    if value.narrow:
        raise UnresolvedError("the value is rounded to less than float64")
    if found.of == "log_det":
        return value.log_det, value.approximate
    return sum(float(w) * z for w, z in zip(weights(analysis.value.shape), value.value, strict=True)), value.approximate
