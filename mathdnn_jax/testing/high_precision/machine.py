"""An interpreter of traced programs that represents floats by numbers with many digits."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax.extend import core

from mathdnn_jax.testing.high_precision.numbers import Arithmetic, UnresolvedError
from mathdnn_jax.testing.high_precision.prices import work_of, work_of_first
from mathdnn_jax.testing.high_precision.rounding import Rounding, inexact

Rule = Callable[..., Any]
"""rule(machine, equation, *inputs) returns the equation's output, or a list of its outputs."""

EQUATION = 10.0
"""The work of interpreting one equation, apart from its arithmetic."""

ENTRY = 0.05
"""The work of putting one entry into an array."""

CONVERSION = 4.0
"""The work of converting one float."""


class Rules(NamedTuple):
    """How equations are evaluated, by the names of their primitives.

    - `neutral`: rules for arrays of any type, such as reshaping and control flow;
    - `real`: rules for equations with a float among their inputs or outputs;
    - `integers`: the rule for all other equations without floats.
    """

    neutral: Mapping[str, Rule]
    real: Mapping[str, Rule]
    integers: Rule


class Machine:
    """Evaluates a program with `digits` digits for floats of any width. Integers and booleans stay as they are.

    The result is that of the formula, so a conversion to a narrower type does not change it. The machine also records
    what it sees:

    - `narrow`: something is computed with fewer digits than float64 has;
    - `approximate`: the program iterates, or reads the bits of a float, and may be right to float64 only;
    - `uncertain`: a constant may be a rounded number;
    - `broken`: rounding of the given size may make a pivot zero;
    - `zeros`: for each sum, difference and logarithm, the number of entries that cancelled to zero.

    Args:
        digits: the number of digits of every float.
        work: about how many microseconds a run may take with 60 digits.
        rules: how each equation is evaluated.
        rounding: how constants, inputs and sums are moved. None leaves everything as it is.
    """

    def __init__(self, digits: int, work: float, rules: Rules, rounding: Rounding | None = None) -> None:
        self.numbers = Arithmetic(digits)
        self.work = work
        self.rounding = rounding
        self.narrow = self.approximate = self.uncertain = self.broken = False
        self.zeros: list[int] = []
        self._rules = rules
        self._price = max(1.0, digits / 120)
        self._literals: dict[int, tuple[Any, np.ndarray]] = {}
        self._called: set[str] = set()

    def spend(self, work: float) -> None:
        """Count work that is about to be done.

        Raises:
            UnresolvedError: more work than is left.
        """
        self._subtract(work * self._price)

    def spend_on(self, name: str, count: int, *arguments: np.ndarray) -> None:
        """Count the work of a function of single numbers that is about to be called on this many entries."""
        digits = self.numbers.digits
        self._subtract(work_of(name, digits, count, arguments))
        if count and name not in self._called:
            self._called.add(name)
            self._subtract(work_of_first(name, digits))

    def _subtract(self, work: float) -> None:
        self.work -= work
        if self.work < 0:
            raise UnresolvedError("the program would take too long in high precision")

    def exact(self, array: Any) -> np.ndarray:
        """Convert an array of floats or integers without rounding."""
        if np.asarray(array).dtype != object:
            self.spend(CONVERSION * np.size(array))
        return self.numbers.exact(array)

    def start(self, program: core.ClosedJaxpr, inputs: Sequence[Any]) -> list[np.ndarray]:
        """Evaluate a program. Its arguments are numbers of this machine, floats, taken as exact, and integers.

        Raises:
            UnresolvedError: the program has an unsupported primitive, or takes too long.
        """
        values = []
        for variable, given in zip(program.jaxpr.invars, inputs, strict=True):
            if is_real(variable.aval):
                value = self.exact(given)
                if self.rounding is not None and self.rounding.everything:
                    value = self.rounding.value(self.numbers, value)
            else:
                value = np.asarray(given, variable.aval.dtype)
            values.append(value)
        return self.run_closed(program, values)

    def run_closed(self, program: core.ClosedJaxpr, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Evaluate a program that contains its constants."""
        constants = [
            self._constant(variable.aval, value)
            for variable, value in zip(program.jaxpr.constvars, program.consts, strict=True)
        ]
        return self.run(program.jaxpr, constants, inputs)

    def run(
        self, program: core.Jaxpr, constants: Sequence[np.ndarray], inputs: Sequence[np.ndarray]
    ) -> list[np.ndarray]:
        """Evaluate a program with these constants and arguments."""
        values: dict[Any, np.ndarray] = {}
        values.update(zip(program.constvars, constants, strict=True))
        values.update(zip(program.invars, inputs, strict=True))

        def read(atom: Any) -> np.ndarray:
            return self._literal(atom) if isinstance(atom, core.Literal) else values[atom]

        for equation in program.eqns:
            outputs = self._outputs(equation, [read(atom) for atom in equation.invars])
            values.update(zip(equation.outvars, outputs, strict=True))
        return [read(atom) for atom in program.outvars]

    def _outputs(self, equation: Any, inputs: list[np.ndarray]) -> list[np.ndarray]:
        name = equation.primitive.name
        # All of them are tested, so that values of an unsupported type are refused.
        reals = [is_real(atom.aval) for atom in (*equation.invars, *equation.outvars)]
        rule = self._rules.neutral.get(name) or (self._rules.real.get(name) if any(reals) else self._rules.integers)
        if rule is None:
            raise UnresolvedError(f"the primitive {name!r} is not supported in high precision")
        self.spend(EQUATION + ENTRY * sum(math.prod(variable.aval.shape) for variable in equation.outvars))
        self.narrow |= any(is_narrow(variable.aval) for variable in equation.outvars)
        result = rule(self, equation, *inputs)
        # NumPy returns a bare number if there are no axes.
        outputs = [np.asarray(output) for output in (result if isinstance(result, list | tuple) else [result])]
        for variable, output in zip(equation.outvars, outputs, strict=True):
            if output.shape != variable.aval.shape:
                raise UnresolvedError(f"the primitive {name!r} is used in a way that high precision does not support")
        return outputs

    def _literal(self, atom: Any) -> np.ndarray:
        # The literal is kept too, so that no other program's literal takes its place in memory, and its id.
        if id(atom) not in self._literals:
            self._literals[id(atom)] = atom, self._constant(atom.aval, atom.val)
        return self._literals[id(atom)][1]

    def _constant(self, aval: Any, value: Any) -> np.ndarray:
        if not is_real(aval):
            return np.asarray(value, aval.dtype)
        # Work is counted before anything is copied.
        self.spend(CONVERSION * np.size(value))
        array = np.asarray(value).astype(np.float64)
        self.uncertain |= bool(inexact(array).any())
        return self.numbers.exact(array) if self.rounding is None else self.rounding.constant(self.numbers, array)


def is_real(aval: Any) -> bool:
    """Return whether a value is an array of floats, as opposed to integers or booleans.

    Raises:
        UnresolvedError: it is neither, but complex numbers or random keys, say.
    """
    dtype = getattr(aval, "dtype", None)
    if dtype is not None and jnp.issubdtype(dtype, np.floating):
        return True
    if dtype is None or not (jnp.issubdtype(dtype, np.integer) or jnp.issubdtype(dtype, np.bool_)):
        raise UnresolvedError(f"values of type {dtype or aval} are not supported in high precision")
    return False


def is_narrow(aval: Any) -> bool:
    """Return whether a value is an array of floats with fewer digits than float64."""
    return is_real(aval) and aval.dtype.itemsize < 8
