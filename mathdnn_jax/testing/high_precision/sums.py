"""Sums, matrix products and convolutions, whose rounding is relative to the absolute values of their terms."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np

from mathdnn_jax.testing.high_precision.machine import ENTRY, Machine, Rule
from mathdnn_jax.testing.high_precision.numbers import boxed, finite, nearest


def product(machine: Machine, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Multiply stacks of matrices (…, m, k) and (…, k, n)."""
    *batch, rows, terms = a.shape
    columns = b.shape[-1]
    machine.spend(2.0 * math.prod(batch) * rows * terms * columns)
    if not terms:
        return machine.numbers.zeros((*batch, rows, columns))
    result = boxed(np.matmul(a, b))
    if machine.rounding is None or not machine.rounding.everything:
        return result
    magnitudes = np.abs(nearest(a)) @ np.abs(nearest(b))
    return machine.rounding.sum(machine.numbers, result, machine.numbers.exact(magnitudes))


def _sum(machine: Machine, equation: Any, x: np.ndarray) -> np.ndarray:
    axes = tuple(equation.params["axes"])
    machine.spend(x.size)
    result = _total(machine, x, axes)
    if machine.rounding is None or not machine.rounding.everything or not axes:
        return result
    return machine.rounding.sum(machine.numbers, result, _total(machine, np.abs(x), axes))


def _total(machine: Machine, x: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    return boxed(np.add.reduce(x, axes, initial=machine.numbers.zero)) if axes else x


def _multiply(machine: Machine, equation: Any, x: np.ndarray) -> np.ndarray:
    machine.spend(x.size)
    return boxed(np.multiply.reduce(x, tuple(equation.params["axes"]), initial=machine.numbers.one))


def _cumulative(name: str) -> Rule:
    def rule(machine: Machine, equation: Any, x: np.ndarray) -> np.ndarray:
        axis, reverse = equation.params["axis"], equation.params["reverse"]
        machine.spend((30.0 if name == "cumlogsumexp" else 1.0) * x.size)
        line = np.moveaxis(x, axis, 0)
        line = line[::-1] if reverse else line
        done = _accumulated(machine, name, line)
        if machine.rounding is not None and machine.rounding.everything:
            sums = name == "cumsum"
            magnitudes = _accumulated(machine, name, np.abs(line)) if sums else np.where(finite(done), np.abs(done), 0)
            done = machine.rounding.sum(machine.numbers, done, magnitudes)
        return np.moveaxis(done[::-1] if reverse else done, 0, axis)

    return rule


def _accumulated(machine: Machine, name: str, line: np.ndarray) -> np.ndarray:
    combine = {"cumsum": np.add, "cumprod": np.multiply, "cumlogsumexp": _log_add(machine)}[name]
    done = np.array(line)
    for k in range(1, len(done)):
        done[k] = combine(done[k - 1], line[k])
    return done


def _log_add(machine: Machine) -> Any:
    functions = machine.numbers.functions

    def log_add(x: Any, y: Any) -> Any:
        most = functions["max"](x, y)
        gap = x - y
        # Two equal infinities have no difference.
        return most if gap != gap else most + functions["log1p"](functions["exp"](-abs(gap)))

    return lambda x, y: machine.numbers.apply(log_add, x, y)


def _dot_general(machine: Machine, equation: Any, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    (a_axes, b_axes), (a_batch, b_batch) = equation.params["dimension_numbers"]
    a, b = machine.exact(a), machine.exact(b)

    def matrices(x: np.ndarray, batch: Any, axes: Any, *, last: bool) -> tuple[np.ndarray, tuple[int, ...]]:
        free = [axis for axis in range(x.ndim) if axis not in (*batch, *axes)]
        order = (*batch, *free, *axes) if last else (*batch, *axes, *free)
        size, inner, outer = (math.prod(x.shape[axis] for axis in group) for group in (batch, axes, free))
        shape = (size, outer, inner) if last else (size, inner, outer)
        return np.transpose(x, order).reshape(shape), tuple(x.shape[axis] for axis in free)

    left, rows = matrices(a, a_batch, a_axes, last=True)
    right, columns = matrices(b, b_batch, b_axes, last=False)
    return product(machine, left, right).reshape((*(a.shape[axis] for axis in a_batch), *rows, *columns))


def _convolution(machine: Machine, equation: Any, x: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Convolve by a matrix product with the patches of x."""
    p = equation.params
    dimensions, groups, batches = p["dimension_numbers"], p["feature_group_count"], p["batch_group_count"]
    x, kernel = np.transpose(x, dimensions.lhs_spec), np.transpose(kernel, dimensions.rhs_spec)
    if batches > 1:
        # By JAX's definition, groups of the batch become groups of channels.
        count, channels, *sizes = x.shape
        x = np.moveaxis(x.reshape(batches, count // batches, channels, *sizes), 0, 1)
        x, groups = x.reshape(count // batches, batches * channels, *sizes), batches
    shape = [equation.outvars[0].aval.shape[axis] for axis in dimensions.out_spec]
    patches = _patches(machine, x, kernel.shape[2:], tuple(shape[2:]), p)
    count, channels, taps, places = patches.shape
    patches = patches.reshape(count, groups, channels // groups * taps, places)
    weights = kernel.reshape(groups, kernel.shape[0] // groups, -1)
    result = product(machine, np.broadcast_to(weights, (count, *weights.shape)), patches)
    return np.transpose(result.reshape(shape), np.argsort(dimensions.out_spec))


def _patches(
    machine: Machine, x: np.ndarray, taps: tuple[int, ...], places: tuple[int, ...], p: dict[str, Any]
) -> np.ndarray:
    """Return (batch, channels, taps, places): the entry, or zero, that each tap of the kernel meets at each place."""
    axes = zip(taps, places, p["window_strides"], p["rhs_dilation"], p["padding"], strict=True)
    wheres = [
        np.arange(tap)[:, None] * wide + np.arange(place) * stride - low for tap, place, stride, wide, (low, _) in axes
    ]
    count = math.prod(taps) * math.prod(places)
    machine.spend(count * (8 + ENTRY * math.prod(x.shape[:2])))
    patches = machine.numbers.zeros((*x.shape[:2], *taps, *places))
    for tap in itertools.product(*map(range, taps)):
        for place in itertools.product(*map(range, places)):
            where = [line[t, s] for line, t, s in zip(wheres, tap, place, strict=True)]
            steps = p["lhs_dilation"]
            inside = all(
                w % step == 0 and 0 <= w // step < n for w, step, n in zip(where, steps, x.shape[2:], strict=True)
            )
            if inside:
                entry: Any = (..., *(w // step for w, step in zip(where, steps, strict=True)))
                target: Any = (..., *tap, *place)
                patches[target] = x[entry]
    return patches.reshape(*x.shape[:2], math.prod(taps), math.prod(places))


REAL: dict[str, Rule] = {
    "reduce_sum": _sum,
    "reduce_prod": _multiply,
    **{name: _cumulative(name) for name in ("cumsum", "cumprod", "cumlogsumexp")},
    "dot_general": _dot_general,
    "conv_general_dilated": _convolution,
}
