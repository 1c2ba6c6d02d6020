"""Equations that move entries of arrays, whatever their type."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.extend import core

from mathdnn_jax.testing.high_precision.machine import Machine, Rule, is_real
from mathdnn_jax.testing.high_precision.numbers import UnresolvedError, objects


def _same(machine: Machine, equation: Any, *inputs: np.ndarray) -> list[np.ndarray]:
    return list(inputs)


def _nothing(machine: Machine, equation: Any, *inputs: np.ndarray) -> list[np.ndarray]:
    return []


def _empty(machine: Machine, equation: Any) -> np.ndarray:
    """Return zeros, which is what JAX fills an array with whose entries nobody reads."""
    aval = equation.outvars[0].aval
    return machine.numbers.zeros(aval.shape) if is_real(aval) else np.zeros(aval.shape, aval.dtype)


def _reduce_precision(machine: Machine, equation: Any, x: np.ndarray) -> np.ndarray:
    p = equation.params
    machine.narrow |= p["mantissa_bits"] < 52 or p["exponent_bits"] < 11
    return x


def _reshape(machine: Machine, equation: Any, x: np.ndarray, *sizes: np.ndarray) -> np.ndarray:
    if equation.params.get("dimensions") is not None:
        x = np.transpose(x, equation.params["dimensions"])
    return x.reshape(equation.outvars[0].aval.shape)


def _shape(machine: Machine, equation: Any, x: np.ndarray) -> np.ndarray:
    return x.reshape(equation.outvars[0].aval.shape)


def _transpose(machine: Machine, equation: Any, x: np.ndarray) -> np.ndarray:
    return np.transpose(x, equation.params["permutation"])


def _broadcast(machine: Machine, equation: Any, x: np.ndarray, *sizes: np.ndarray) -> np.ndarray:
    shape = equation.outvars[0].aval.shape
    kept = np.ones(len(shape), int)
    kept[list(equation.params["broadcast_dimensions"])] = x.shape
    return np.broadcast_to(x.reshape(kept), shape)


def _slice(machine: Machine, equation: Any, x: np.ndarray) -> np.ndarray:
    p = equation.params
    strides = p["strides"] or (1,) * x.ndim
    return x[tuple(slice(*part) for part in zip(p["start_indices"], p["limit_indices"], strides, strict=True))]


def _reverse(machine: Machine, equation: Any, x: np.ndarray) -> np.ndarray:
    return np.asarray(np.flip(x, equation.params["dimensions"]))


def _concatenate(machine: Machine, equation: Any, *parts: np.ndarray) -> np.ndarray:
    return np.concatenate(parts, equation.params["dimension"])


def _split(machine: Machine, equation: Any, x: np.ndarray) -> list[np.ndarray]:
    return np.split(x, np.cumsum(equation.params["sizes"])[:-1], equation.params["axis"])


def _stack(machine: Machine, equation: Any, *parts: np.ndarray) -> np.ndarray:
    return np.stack(parts, equation.params["axis"])


def _unstack(machine: Machine, equation: Any, x: np.ndarray) -> list[np.ndarray]:
    return list(np.moveaxis(x, equation.params["axis"], 0))


def _tile(machine: Machine, equation: Any, x: np.ndarray) -> np.ndarray:
    return np.tile(x, equation.params["reps"])


def _pad(machine: Machine, equation: Any, x: np.ndarray, value: np.ndarray) -> np.ndarray:
    """Pad between the entries, then around them. Negative padding removes entries."""
    for axis, (low, high, between) in enumerate(equation.params["padding_config"]):
        x = np.moveaxis(x, axis, 0)
        spread = np.full((max(0, (len(x) - 1) * (between + 1) + 1) if len(x) else 0, *x.shape[1:]), value, x.dtype)
        spread[:: between + 1] = x
        around = [np.full((max(0, count), *x.shape[1:]), value, x.dtype) for count in (low, high)]
        padded = np.concatenate([around[0], spread, around[1]])
        x = np.moveaxis(padded[max(0, -low) : len(padded) - max(0, -high)], 0, axis)
    return x


def _iota(machine: Machine, equation: Any) -> np.ndarray:
    aval, dimension = equation.outvars[0].aval, equation.params["dimension"]
    line = np.arange(aval.shape[dimension])
    line = machine.exact(line) if is_real(aval) else line.astype(aval.dtype)
    shape = [1] * len(aval.shape)
    shape[dimension] = -1
    return np.broadcast_to(line.reshape(shape), aval.shape)


def _select(machine: Machine, equation: Any, which: np.ndarray, *cases: np.ndarray) -> np.ndarray:
    chosen = cases[0]
    for k, case in enumerate(cases[1:], 1):
        chosen = np.where(which == k, case, chosen)
    return np.broadcast_to(chosen, equation.outvars[0].aval.shape)


def _clamped(x: np.ndarray, starts: tuple[np.ndarray, ...], sizes: tuple[int, ...]) -> tuple[slice, ...]:
    first = [int(np.clip(start, 0, n - size)) for start, n, size in zip(starts, x.shape, sizes, strict=True)]
    return tuple(slice(start, start + size) for start, size in zip(first, sizes, strict=True))


def _dynamic_slice(machine: Machine, equation: Any, x: np.ndarray, *starts: np.ndarray) -> np.ndarray:
    return x[_clamped(x, starts, equation.params["slice_sizes"])]


def _dynamic_update(machine: Machine, equation: Any, x: np.ndarray, new: np.ndarray, *starts: np.ndarray) -> np.ndarray:
    updated = np.array(x)
    updated[_clamped(x, starts, new.shape)] = new
    return updated


def _gather(machine: Machine, equation: Any, x: np.ndarray, indices: np.ndarray) -> np.ndarray:
    p = equation.params
    shape = equation.outvars[0].aval.shape
    machine.spend(0.5 * math.prod(shape))
    drop = p["mode"] == jax.lax.GatherScatterMode.FILL_OR_DROP
    where = positions(x.shape, indices, p["dimension_numbers"], p["slice_sizes"], shape, drop=drop)
    if (where < 0).any():
        raise UnresolvedError("entries are taken from outside an array")
    return np.asarray(x.reshape(-1)[where], x.dtype)


def positions(
    shape: tuple[int, ...], indices: np.ndarray, numbers: Any, sizes: Any, taken: tuple[int, ...], *, drop: bool
) -> np.ndarray:
    """Return the position in the flattened array that each entry of a gather comes from.

    Args:
        shape: the shape of the array.
        indices: the starts of the slices. The last axis holds the indices of one start.
        numbers: JAX's `GatherDimensionNumbers`.
        sizes: the shape of a slice.
        taken: the shape of the result.
        drop: whether a slice that is not inside the array is marked by −1. Otherwise it is moved inside.
    """
    grid = np.indices(taken)
    batch = [grid[axis] for axis in range(len(taken)) if axis not in numbers.offset_dims]
    starts = indices[tuple(batch)]
    windows = [
        axis
        for axis in range(len(shape))
        if axis not in numbers.collapsed_slice_dims and axis not in numbers.operand_batching_dims
    ]
    place, inside = np.zeros(taken, int), np.ones(taken, bool)
    for axis, (length, size) in enumerate(zip(shape, sizes, strict=True)):
        at = np.zeros(taken, int)
        if axis in numbers.start_index_map:
            at = starts[..., numbers.start_index_map.index(axis)].astype(int)
        elif axis in numbers.operand_batching_dims:
            at = batch[numbers.start_indices_batching_dims[numbers.operand_batching_dims.index(axis)]]
        inside &= (at >= 0) & (at <= length - size)
        at = np.clip(at, 0, length - size)
        if axis in windows:
            at = at + grid[numbers.offset_dims[windows.index(axis)]]
        place = place * length + at
    return np.where(inside | (not drop), place, -1)


def _scatter(combine: str | None) -> Rule:
    """Return a rule that puts updates into an array, or combines them with its entries by a function of this name."""

    def rule(machine: Machine, equation: Any, x: np.ndarray, indices: np.ndarray, updates: np.ndarray) -> np.ndarray:
        numbers = equation.params["dimension_numbers"]
        single = (*numbers.inserted_window_dims, *numbers.operand_batching_dims)
        windows = iter(numbers.update_window_dims)
        sizes = [1 if axis in single else updates.shape[next(windows)] for axis in range(x.ndim)]
        gathered = jax.lax.GatherDimensionNumbers(
            offset_dims=numbers.update_window_dims,
            collapsed_slice_dims=numbers.inserted_window_dims,
            start_index_map=numbers.scatter_dims_to_operand_dims,
            operand_batching_dims=numbers.operand_batching_dims,
            start_indices_batching_dims=numbers.scatter_indices_batching_dims,
        )
        drop = equation.params["mode"] != jax.lax.GatherScatterMode.CLIP
        where = positions(x.shape, indices, gathered, sizes, updates.shape, drop=drop)
        machine.spend(updates.size + x.size / 16)
        result = x.reshape(-1).tolist() if x.dtype == object else list(x.reshape(-1))
        function = _combination(machine, combine) if combine else _applied(machine, equation.params)
        for place, update in zip(where.reshape(-1).tolist(), updates.reshape(-1), strict=True):
            if place >= 0:
                result[place] = update if function is None else function(result[place], update)
        return objects(result, x.shape) if x.dtype == object else np.asarray(result, x.dtype).reshape(x.shape)

    return rule


def _combination(machine: Machine, name: str) -> Callable[[Any, Any], Any]:
    operators = {"add": operator.add, "sub": operator.sub, "mul": operator.mul}
    return operators[name] if name in operators else machine.numbers.functions[name]


def _applied(machine: Machine, params: Any) -> Callable[[Any, Any], Any] | None:
    """Return the function of an entry that `x.at[i].apply(function)` applies, or None for `x.at[i].set(updates)`."""
    if params["update_jaxpr"] is None:
        return None
    program = core.ClosedJaxpr(params["update_jaxpr"], params["update_consts"])

    def function(entry: Any, update: Any) -> Any:
        (result,) = machine.run_closed(program, tuple(map(np.asarray, (entry, update))))
        return result[()]

    return function


COMBINATIONS = ("add", "sub", "mul", "min", "max")

NEUTRAL: dict[str, Rule] = {
    **dict.fromkeys(("copy", "stop_gradient", "optimization_barrier", "name", "sharding_constraint"), _same),
    "reduce_precision": _reduce_precision,
    **dict.fromkeys(("debug_callback", "debug_print"), _nothing),
    **dict.fromkeys(("empty", "empty2"), _empty),
    "reshape": _reshape,
    "transpose": _transpose,
    "broadcast_in_dim": _broadcast,
    "squeeze": _shape,
    "slice": _slice,
    "rev": _reverse,
    "concatenate": _concatenate,
    "split": _split,
    "stack": _stack,
    "unstack": _unstack,
    "tile": _tile,
    "pad": _pad,
    "iota": _iota,
    "select_n": _select,
    "dynamic_slice": _dynamic_slice,
    "dynamic_update_slice": _dynamic_update,
    "gather": _gather,
    "scatter": _scatter(None),
}

REAL: dict[str, Rule] = {f"scatter-{name}": _scatter(name) for name in COMBINATIONS}
