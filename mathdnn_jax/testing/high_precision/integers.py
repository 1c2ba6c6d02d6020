"""Equations on integers and booleans only, evaluated by NumPy if it agrees with JAX, and by JAX otherwise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np

from mathdnn_jax.testing.high_precision.machine import Machine
from mathdnn_jax.testing.high_precision.numbers import UnresolvedError

BOUND = 150.0
"""The work of one equation that JAX evaluates."""

BY_NUMPY: dict[str, Callable[..., Any]] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "neg": np.negative,
    "max": np.maximum,
    "min": np.minimum,
    "and": np.bitwise_and,
    "or": np.bitwise_or,
    "xor": np.bitwise_xor,
    "not": np.invert,
    "eq": np.equal,
    "ne": np.not_equal,
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
}
"""Primitives for which NumPy is used. It is much faster, because JAX compiles a program for each shape."""


def integers(machine: Machine, equation: Any, *inputs: np.ndarray) -> Any:
    """Evaluate an equation without floats.

    Raises:
        UnresolvedError: the equation calls back into Python.
    """
    name, dtypes = equation.primitive.name, [variable.aval.dtype for variable in equation.outvars]
    machine.spend(sum(map(np.size, inputs)) / 16)
    if name in BY_NUMPY:
        result = BY_NUMPY[name](*inputs)
        return np.broadcast_to(np.asarray(result, dtypes[0]), equation.outvars[0].aval.shape)
    if name == "convert_element_type":
        return np.asarray(inputs[0]).astype(dtypes[0])
    if equation.effects or "callback" in name:
        raise UnresolvedError(f"the primitive {name!r} is not supported in high precision")
    machine.spend(BOUND)
    outputs = equation.primitive.bind(*map(jnp.asarray, inputs), **equation.params)
    if equation.primitive.multiple_results:
        return [np.asarray(output) for output in outputs]
    return np.asarray(outputs)
