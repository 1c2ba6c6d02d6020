"""Equations that act on each entry: arithmetic, comparisons, functions, and conversions between types."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mathdnn_jax.testing.high_precision.machine import Machine, Rule, is_real
from mathdnn_jax.testing.high_precision.numbers import UnresolvedError, boxed, finite, nearest


def _operator(name: str, function: Callable[..., Any]) -> Rule:
    def rule(machine: Machine, equation: Any, *inputs: np.ndarray) -> np.ndarray:
        shape = equation.outvars[0].aval.shape
        machine.spend_on(name, math.prod(shape))
        inputs = tuple(map(machine.exact, inputs))
        result = boxed(function(*inputs))
        if name in ("add", "sub"):
            machine.zeros.append(int(np.count_nonzero((result == 0) & (inputs[0] != 0))))
        return np.broadcast_to(result, shape)

    return rule


def _function(name: str) -> Rule:
    def rule(machine: Machine, equation: Any, *inputs: np.ndarray) -> np.ndarray:
        shape = equation.outvars[0].aval.shape
        inputs = tuple(map(machine.exact, inputs))
        machine.spend_on(name, math.prod(shape), *inputs)
        result = machine.numbers.apply(machine.numbers.functions[name], *inputs)
        if name == "log":
            machine.zeros.append(int(np.count_nonzero(result == 0)))
        return np.broadcast_to(result, shape)

    return rule


def _comparison(function: Callable[..., Any]) -> Rule:
    def rule(machine: Machine, equation: Any, *inputs: np.ndarray) -> np.ndarray:
        shape = equation.outvars[0].aval.shape
        machine.spend(math.prod(shape))
        return np.broadcast_to(np.asarray(function(*inputs), bool), shape)

    return rule


def _total_order(function: Callable[..., Any]) -> Rule:
    compare = _comparison(function)

    def rule(machine: Machine, equation: Any, *inputs: np.ndarray) -> Any:
        if any((x != x).any() for x in inputs):
            raise UnresolvedError("NaN is compared in high precision")
        return compare(machine, equation, *inputs)

    return rule


def _integer_power(machine: Machine, equation: Any, x: np.ndarray) -> np.ndarray:
    machine.spend_on("integer_pow", x.size)
    power, exponent = machine.numbers.functions["pow"], machine.numbers.context.mpf(equation.params["y"])
    return machine.numbers.apply(lambda base: power(base, exponent), x)


def _polynomial(machine: Machine, equation: Any, x: np.ndarray, *coefficients: np.ndarray) -> np.ndarray:
    """Evaluate Σ_k a_k x^k. JAX uses polynomials for approximations, which are right to float64 only."""
    shape = equation.outvars[0].aval.shape
    machine.spend_on("mul", 2 * len(coefficients) * math.prod(shape))
    machine.approximate = True
    x, *terms = map(machine.exact, (x, *coefficients))
    result = boxed(machine.numbers.zero)
    for term in reversed(terms):
        result = boxed(result * x + term)
    return np.broadcast_to(result, shape)


def _one_minus_square(machine: Machine, equation: Any, x: np.ndarray) -> np.ndarray:
    """Evaluate 1 − x², and record the difference like any other."""
    machine.spend_on("mul", 2 * x.size)
    result = boxed(machine.numbers.one - x * x)
    machine.zeros.append(int(np.count_nonzero(result == 0)))
    return result


def _round(machine: Machine, equation: Any, x: np.ndarray) -> np.ndarray:
    to_even = equation.params["rounding_method"] == jax.lax.RoundingMethod.TO_NEAREST_EVEN
    name = "round_to_even" if to_even else "round_away"
    machine.spend_on(name, x.size)
    return machine.numbers.apply(machine.numbers.functions[name], x)


def _convert(machine: Machine, equation: Any, x: np.ndarray) -> np.ndarray:
    """Convert between types. Floats are not rounded, because it is the formula that is evaluated."""
    aval = equation.outvars[0].aval
    machine.spend(x.size)
    if is_real(aval):
        return machine.exact(x)
    if jnp.issubdtype(aval.dtype, np.bool_):
        return np.asarray(x != 0, bool)
    if not finite(x).all():
        raise UnresolvedError("a number that is not finite is converted to an integer")
    whole = np.frompyfunc(int, 1, 1)(x)
    if np.size(whole) and not (np.abs(whole) < np.iinfo(aval.dtype).max).all():
        raise UnresolvedError("a number is converted to an integer that is too large")
    return np.asarray(whole).astype(aval.dtype)


def _bits(machine: Machine, equation: Any, x: np.ndarray) -> np.ndarray:
    """Convert float64 numbers to the integers with the same bits, or back. Such a program is right to float64 only."""
    aval = equation.outvars[0].aval
    if aval.dtype.itemsize != 8 or equation.invars[0].aval.dtype.itemsize != 8:
        raise UnresolvedError("the program reads the bits of a number narrower than float64")
    machine.approximate = True
    if is_real(aval):
        return machine.exact(np.asarray(x).view(np.float64))
    return nearest(x).view(aval.dtype)


def _is_finite(machine: Machine, equation: Any, x: np.ndarray) -> np.ndarray:
    return finite(x)


FUNCTIONS = (
    "div", "pow", "rem", "max", "min", "clamp", "atan2", "square", "sign", "floor", "ceil", "exp", "exp2", "expm1",
    "log", "log2", "log1p", "sqrt", "rsqrt", "cbrt", "logistic", "tanh", "sinh", "cosh", "sin", "cos", "tan", "asin",
    "acos", "atan", "asinh", "acosh", "atanh", "erf", "erfc", "erf_inv", "lgamma", "digamma", "polygamma", "zeta",
    "igamma", "igammac", "regularized_incomplete_beta", "bessel_i0e", "bessel_i1e",
)  # fmt: skip

REAL: dict[str, Rule] = {
    "add": _operator("add", np.add),
    "add_any": _operator("add", np.add),
    "sub": _operator("sub", np.subtract),
    "mul": _operator("mul", np.multiply),
    "neg": _operator("neg", np.negative),
    "abs": _operator("abs", np.abs),
    **{name: _function(name) for name in FUNCTIONS},
    **{name: _comparison(getattr(operator, name)) for name in ("eq", "ne", "lt", "le", "gt", "ge")},
    **{f"{name}_to": _total_order(getattr(operator, name)) for name in ("eq", "lt", "le")},
    "integer_pow": _integer_power,
    "one_minus_square": _one_minus_square,
    "polynomial": _polynomial,
    "round": _round,
    "convert_element_type": _convert,
    "bitcast_convert_type": _bits,
    "is_finite": _is_finite,
}
