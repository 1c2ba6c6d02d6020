"""Gradients beside central differences in high precision.

In float64 both may be lost in rounding, and a step of float32 size may be longer than the range in which the map is
close to its tangent: the inverse of θ = 10⁻⁹ has another sign at θ − 10⁻⁶. So the program of the gradient itself is
evaluated in high precision, and compared with the difference of the exact values for a step as short as the digits
allow.
"""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from mathdnn_jax.testing.cases import Case, is_float
from mathdnn_jax.testing.compiled import Compiled
from mathdnn_jax.testing.gradients import TOLERANCE, Comparison, weights
from mathdnn_jax.testing.high_precision.interpreter import following, machine
from mathdnn_jax.testing.high_precision.machine import Machine
from mathdnn_jax.testing.high_precision.numbers import Number, UnresolvedError, finite
from mathdnn_jax.testing.high_precision.settle import LEVELS, MORE_WORK, Spend
from mathdnn_jax.testing.programs import Analysis, Direction, as_arrays

DIGITS = LEVELS[2]
"""The number of digits of values and gradients."""

SHORT = 2.0**-100
"""How much shorter the short step is. Its square is left with a third of the digits."""


class Tangent:
    """A map at one event, and a tangent along which event, parameters and context are moved.

    Args:
        found: the comparison of float64.
        direction: the map.
        case: its parameters and context, which are taken as exact.
        analysis: the map in float64.
        spend: a function that is told how much work has been done.
    """

    def __init__(self, found: Comparison, direction: Direction, case: Case, analysis: Analysis, spend: Spend) -> None:
        self.found = found
        self.direction = direction
        self.spend = spend
        self.arguments = as_arrays(case.params), as_arrays(case.context)
        self.x = analysis.x.reshape(direction.shape)
        self.turn = analysis.tangents[found.tangent].reshape(direction.shape)
        slopes = analysis.slopes
        self.turns = [turn[found.tangent] for turn in slopes.turns] if found.joint and slopes is not None else None

    def gradient(self) -> tuple[Number, Number]:
        """Return Σ_j g_j t_j of the gradient g along the tangent t, and Σ_j |g_j t_j|.

        Raises:
            UnresolvedError: the program of the gradient cannot be followed, or the gradient is not finite.
        """
        used = machine(DIGITS, MORE_WORK)
        forward, reverse = self._run(used, self.direction.slopes, 0.0)
        pairs = [(forward, self.turn)]
        if self.turns is not None:
            leaves, x = reverse[0 if self.found.of == "value" else 1]
            pairs = [*zip(leaves, self.turns, strict=True), (x, self.turn)]
        terms = [used.exact(gradient).reshape(-1) * used.exact(turn).reshape(-1) for gradient, turn in pairs]
        if not all(finite(term).all() for term in terms):
            raise UnresolvedError("the gradient is not finite in high precision")
        return _total(used, terms), _total(used, [np.abs(term) for term in terms])

    def sides(self) -> list[Number]:
        """Return the function's values a short step ahead, here, and a short step behind.

        Raises:
            UnresolvedError: the program of the value cannot be followed, or it iterates, so that its values are only
                right to some tolerance of its own.
        """
        numbers = []
        for step in (SHORT, 0.0, -SHORT):
            used = machine(DIGITS, MORE_WORK)
            value, log_det = self._run(used, self.direction.single, step)
            if used.approximate:
                raise UnresolvedError("the program iterates")
            value = used.exact(value).reshape(-1)
            weighted = used.exact(np.asarray(weights(self.direction.value_shape))).reshape(-1) @ value
            numbers.append(used.exact(log_det)[()] if self.found.of == "log_det" else weighted)
        return numbers

    def _run(self, used: Machine, program: Compiled, step: float) -> Any:
        """Evaluate a compiled function of (params, context, x), so many steps along the tangent."""
        with following(used, self.spend):
            traced = program.trace(*self.arguments, jax.ShapeDtypeStruct(self.x.shape, np.float64))
            x = used.exact(self.x) + used.exact(step * self.turn)
            inputs = jax.tree.leaves(self.arguments)
            if self.turns is not None:
                turns = iter(self.turns)
                inputs = [_moved(used, leaf, step * next(turns)) if is_float(leaf) else leaf for leaf in inputs]
            outputs = used.start(traced.jaxpr, [*inputs, x])
        return jax.tree.unflatten(jax.tree.structure(traced.out_info), outputs)


def is_confirmed(tangent: Tangent) -> bool:
    """Return whether a gradient that float64 finds wrong is wrong in high precision too.

    A conversion to a narrower type is the identity here, for the value as for the gradient.

    Raises:
        UnresolvedError: high precision cannot follow the program of the value or that of the gradient.
    """
    along, scale = tangent.gradient()
    ahead, here, behind = tangent.sides()
    allowed = SHORT * TOLERANCE * scale + abs(ahead - 2 * here + behind)
    return bool(abs(SHORT * along - (ahead - behind) / 2) > allowed)


def _moved(used: Machine, leaf: Any, turn: np.ndarray) -> np.ndarray:
    return used.exact(leaf) + used.exact(turn).reshape(leaf.shape)


def _total(used: Machine, terms: list[np.ndarray]) -> Number:
    return used.numbers.context.fsum(np.concatenate(terms))
