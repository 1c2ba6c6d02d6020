"""A map at one event in high precision: its value, log_det and Jacobian."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import jax
import numpy as np

from mathdnn_jax.testing.cases import Tree
from mathdnn_jax.testing.high_precision.interpreter import following, machine
from mathdnn_jax.testing.high_precision.machine import Machine
from mathdnn_jax.testing.high_precision.matrix import log_abs_det
from mathdnn_jax.testing.high_precision.numbers import Arithmetic, UndefinedError, UnresolvedError, boxed, finite
from mathdnn_jax.testing.high_precision.rounding import Rounding
from mathdnn_jax.testing.high_precision.settle import (
    LEVELS,
    MORE_WORK,
    WORK,
    Derived,
    Spend,
    Value,
    settled_derived,
    settled_value,
)
from mathdnn_jax.testing.programs import Direction, as_arrays

Result = TypeVar("Result")

DRAWS = 4
"""The number of draws of rounding."""


class Point:
    """A map at one event, or the composition of two maps at an event of the first.

    Args:
        direction: the map.
        params: its parameters, which are taken as exact.
        context: its context, likewise.
        x: the event, as floats or as numbers with many digits.
        first: the map that is applied to x before `direction`, if any.
        spend: a function that is told how much work has been done.
    """

    def __init__(
        self,
        direction: Direction,
        params: Tree,
        context: Tree,
        x: np.ndarray,
        first: Direction | None = None,
        spend: Spend = lambda _: None,
    ) -> None:
        self.direction = direction
        self.params, self.context, self.x = params, context, x
        self.first = first
        self.spend = spend
        self._outcomes: dict[str, Any] = {}

    def at(self, move: np.ndarray) -> Point:
        """Return the same map at the exact event x + move."""
        numbers = Arithmetic(LEVELS[-1])
        x = boxed(numbers.exact(self.x) + numbers.exact(move))
        return Point(self.direction, self.params, self.context, x, self.first, self.spend)

    @property
    def value(self) -> Value:
        """Value and log_det, with as many digits as they need to settle.

        Raises:
            UnresolvedError: they do not settle, or the program cannot be followed.
        """
        return self._once("value", lambda: self.value_at(0))

    @property
    def derived(self) -> Derived:
        """Value, log_det and Jacobian, with as many digits as log_det and log|det J| need to settle.

        Raises:
            UnresolvedError: they do not settle, or the program cannot be followed.
        """
        return self._once("derived", lambda: settled_derived(self.differentiate, self.spend))

    def value_at(self, least: int) -> Value:
        """Return value and log_det with at least this many digits."""
        return settled_value(self.evaluate, least)

    def moved(self, rounding: float, *, everything: bool) -> list[Value]:
        """Return value and log_det for random draws of rounding of this relative size."""
        digits = self.value.digits
        return [
            self.evaluate(digits, Rounding(rounding, draw, everything=everything), defined=False)
            for draw in range(DRAWS)
        ]

    def derived_moved(self, rounding: float) -> list[Derived]:
        """Return value, log_det and Jacobian for random draws in which the constants alone are moved."""
        digits = self.derived.computed.digits
        return [self.differentiate(digits, Rounding(rounding, draw, everything=False)) for draw in range(DRAWS)]

    def evaluate(self, digits: int, rounding: Rounding | None = None, *, defined: bool = True) -> Value:
        """Evaluate with this many digits. `defined` requires a finite value and a log_det that is not NaN."""
        _, computed, _ = self._run(digits, rounding, derived=False, defined=defined)
        return computed

    def differentiate(self, digits: int, rounding: Rounding | None = None) -> Derived:
        """Evaluate the map and its Jacobian with this many digits."""
        used, computed, jacobian = self._run(digits, rounding, derived=True, defined=True)
        sign, log_det = log_abs_det(used, jacobian)
        return Derived(computed, jacobian, sign, log_det, singular=False)

    def _once(self, name: str, compute: Callable[[], Result]) -> Result:
        """Compute a result once. If there is none, keep the reason, because finding it out again takes as long."""
        if name not in self._outcomes:
            try:
                self._outcomes[name] = compute()
            except UnresolvedError as error:
                self._outcomes[name] = error
        outcome: Result | UnresolvedError = self._outcomes[name]
        if isinstance(outcome, UnresolvedError):
            # The frames of an old traceback hold everything that was computed.
            raise outcome.with_traceback(None)
        return outcome

    def _run(
        self, digits: int, rounding: Rounding | None, *, derived: bool, defined: bool
    ) -> tuple[Machine, Value, np.ndarray]:
        used = machine(digits, MORE_WORK if digits >= LEVELS[-1] else WORK, rounding)
        with following(used, self.spend):
            x = self.x
            if self.first is not None:
                x, _ = self._start(used, self.first.single, x)
            program = self.direction.derived if derived else self.direction.single
            value, log_det, *jacobian = self._start(used, program, x)
        value, log_det = used.numbers.exact(value).reshape(-1), used.numbers.exact(log_det)[()]
        if defined and not (finite(value).all() and log_det == log_det):
            raise UndefinedError("the value is not finite, or log_det is NaN, in high precision")
        seen = used.narrow, used.approximate, used.uncertain, used.broken, tuple(used.zeros)
        computed = Value(digits, value, log_det, *seen)
        size = value.size
        return used, computed, used.numbers.exact(jacobian[0]).reshape(size, -1) if derived else np.empty(0)

    def _start(self, used: Machine, compiled: Any, x: np.ndarray) -> list[np.ndarray]:
        arguments = as_arrays(self.params), as_arrays(self.context)
        traced = compiled.trace(*arguments, jax.ShapeDtypeStruct(x.shape, np.float64))
        return used.start(traced.jaxpr, [*jax.tree.leaves(arguments), x])
