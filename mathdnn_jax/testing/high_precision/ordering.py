"""Equations that compare the entries of an array with one another: maxima, minima, sorting."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from mathdnn_jax.testing.high_precision.machine import Machine, Rule
from mathdnn_jax.testing.high_precision.numbers import UnresolvedError


def ranks(machine: Machine, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the rank of each entry, and the sorted entries that the ranks refer to.

    Raises:
        UnresolvedError: an entry is NaN, which each primitive treats differently.
    """
    machine.spend(x.size * (1 + 0.5 * math.log2(max(1, x.size))))
    if x.dtype == object and (x != x).any():
        raise UnresolvedError("NaN is compared in high precision")
    entries, order = np.unique(x, return_inverse=True)
    return order.reshape(x.shape), entries


def _reduce(function: Callable[..., Any]) -> Rule:
    def rule(machine: Machine, equation: Any, x: np.ndarray) -> np.ndarray:
        order, entries = ranks(machine, x)
        return np.asarray(entries[function(order, axis=tuple(equation.params["axes"]))], x.dtype)

    return rule


def _accumulate(function: np.ufunc) -> Rule:
    def rule(machine: Machine, equation: Any, x: np.ndarray) -> np.ndarray:
        order, entries = ranks(machine, x)
        axis, reverse = equation.params["axis"], equation.params["reverse"]
        order = np.flip(order, axis) if reverse else order
        order = function.accumulate(order, axis)
        return np.asarray(entries[np.flip(order, axis) if reverse else order], x.dtype)

    return rule


def _place(function: Callable[..., Any]) -> Rule:
    def rule(machine: Machine, equation: Any, x: np.ndarray) -> np.ndarray:
        (axis,) = equation.params["axes"]
        return np.asarray(function(ranks(machine, x)[0], axis=axis), equation.params["index_dtype"])

    return rule


def _sort(machine: Machine, equation: Any, *operands: np.ndarray) -> list[np.ndarray]:
    axis = equation.params["dimension"]
    keys = [ranks(machine, operand)[0] for operand in operands[: equation.params["num_keys"]]]
    order = np.lexsort(keys[::-1], axis)
    return [np.take_along_axis(operand, order, axis) for operand in operands]


def _top(machine: Machine, equation: Any, x: np.ndarray) -> list[np.ndarray]:
    axis, count = equation.params.get("axis", x.ndim - 1), equation.params["k"]
    order = np.argsort(-ranks(machine, x)[0], axis, kind="stable")
    order = np.take(order, np.arange(count), axis)
    return [np.take_along_axis(x, order, axis), order.astype(equation.outvars[1].aval.dtype)]


NEUTRAL: dict[str, Rule] = {
    "reduce_max": _reduce(np.max),
    "reduce_min": _reduce(np.min),
    "cummax": _accumulate(np.maximum),
    "cummin": _accumulate(np.minimum),
    "argmax": _place(np.argmax),
    "argmin": _place(np.argmin),
    "sort": _sort,
    "top_k": _top,
}
