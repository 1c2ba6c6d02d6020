"""Equations of linear algebra: elimination, triangular solves, Cholesky, QR."""

from __future__ import annotations

from typing import Any

import numpy as np

from mathdnn_jax.testing.high_precision.machine import Machine, Rule
from mathdnn_jax.testing.high_precision.numbers import UnresolvedError, boxed, nearest


def eliminate(machine: Machine, matrix: np.ndarray, *, pivoting: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """Return L and U of a matrix in one array, and the new order of its rows, with partial pivoting as in LAPACK."""
    a = np.array(matrix)
    rows, columns = a.shape
    order = np.arange(rows)
    for k in range(min(rows, columns)):
        pivot = k + int(np.argmax(np.abs(a[k:, k]))) if pivoting else k
        if pivot != k:
            a[[k, pivot]], order[[k, pivot]] = a[[pivot, k]], order[[pivot, k]]
        if a[k, k] == 0:
            continue
        # A Jacobian has many zeros. For an elementwise map there is hardly any work.
        below, beside = k + 1 + np.flatnonzero(a[k + 1 :, k]), k + 1 + np.flatnonzero(a[k, k + 1 :])
        machine.spend(rows + columns + 4 * below.size + 3.0 * below.size * beside.size)
        a[below, k] = a[below, k] / a[k, k]
        a[np.ix_(below, beside)] -= np.outer(a[below, k], a[k, beside])
    return a, order


def _lu(machine: Machine, equation: Any, matrices: np.ndarray) -> list[np.ndarray]:
    """Return L and U, the pivots as LAPACK numbers them, and the permutation."""
    *batch, rows, columns = matrices.shape
    found = [_rounded(machine, matrix, *eliminate(machine, matrix)) for matrix in matrices.reshape(-1, rows, columns)]
    factors = _stacked([factor for factor, _ in found], matrices.shape)
    orders = np.asarray([order for _, order in found], int).reshape(*batch, rows)
    pivots = np.asarray([_pivots(order, min(rows, columns)) for _, order in found], int)
    dtypes = [variable.aval.dtype for variable in equation.outvars[1:]]
    return [factors, pivots.reshape(*batch, -1).astype(dtypes[0]), orders.astype(dtypes[1])]


def _rounded(
    machine: Machine, matrix: np.ndarray, factors: np.ndarray, order: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the factors after rounding, which are those of a matrix that differs by roundings of |L| |U|."""
    if machine.rounding is None or not machine.rounding.everything:
        return factors, order
    rank = min(factors.shape)
    parts = np.abs(nearest(factors))
    lower, upper = np.tril(parts[:, :rank], -1) + np.eye(len(parts), rank), np.triu(parts[:rank])
    moved = machine.rounding.sum(machine.numbers, matrix[order], machine.numbers.exact(lower @ upper))
    again, _ = eliminate(machine, moved, pivoting=False)
    _note_pivots(machine, factors.diagonal(), again.diagonal())
    return again, order


def _note_pivots(machine: Machine, pivots: np.ndarray, moved: np.ndarray) -> None:
    """Note if rounding changes a pivot by half or more. It may then become zero, and a solve may return anything."""
    machine.broken |= any(not abs(b - a) <= abs(a) / 2 for a, b in zip(pivots, moved, strict=True))


def _pivots(order: np.ndarray, count: int) -> list[int]:
    """Return the successive exchanges of rows that result in this order."""
    current, pivots = list(range(len(order))), []
    for k in range(count):
        place = current.index(int(order[k]))
        pivots.append(place)
        current[k], current[place] = current[place], current[k]
    return pivots


def _triangular_solve(machine: Machine, equation: Any, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Solve A X = B or X A = B for X, with one triangle of A."""
    p = equation.params
    lower = p["lower"] != p["transpose_a"]
    if machine.rounding is not None and machine.rounding.everything:
        # The computed result is exact for a triangle whose entries differ by a few roundings.
        a = machine.rounding.value(machine.numbers, a)
    a = np.swapaxes(a, -1, -2) if p["transpose_a"] else a
    if not p["left_side"]:
        a, b, lower = np.swapaxes(a, -1, -2), np.swapaxes(b, -1, -2), not lower
    size, columns = b.shape[-2:]
    matrices, rights = a.reshape(-1, size, size), b.reshape(-1, size, columns)
    machine.spend(1.0 * rights.size * size + 4 * rights.size)
    divide = machine.numbers.functions["div"]
    solved = []
    for matrix, right in zip(matrices, rights, strict=True):
        x = np.array(right)
        for i in range(size) if lower else reversed(range(size)):
            known = slice(0, i) if lower else slice(i + 1, size)
            if known.start < known.stop:
                x[i] = x[i] - matrix[i, known] @ x[known]
            if not p["unit_diagonal"]:
                x[i] = machine.numbers.apply(divide, x[i], boxed(matrix[i, i]))
        solved.append(x)
    result = _stacked(solved, b.shape)
    return result if p["left_side"] else np.swapaxes(result, -1, -2)


def _cholesky(machine: Machine, equation: Any, matrices: np.ndarray) -> np.ndarray:
    """Return the lower triangular C of A = C Cᵀ, or NaN if A is not positive definite."""
    size = matrices.shape[-1]
    root, nan = machine.numbers.functions["sqrt"], machine.numbers.context.nan

    def factor(matrix: np.ndarray) -> np.ndarray:
        machine.spend(1.0 * size**3 + size)
        c = machine.numbers.zeros((size, size))
        for j in range(size):
            rest = matrix[j:, j] - (c[j:, :j] @ c[j, :j] if j else 0)
            if not rest[0] > 0:
                # LAPACK reports a failure, and JAX then returns NaN for the whole factor.
                return np.full((size, size), nan, object)
            pivot = root(rest[0])
            c[j:, j] = rest / pivot
            c[j, j] = pivot
        return c

    found = []
    for matrix in matrices.reshape(-1, size, size):
        c = factor(matrix)
        if machine.rounding is not None and machine.rounding.everything:
            magnitudes = np.abs(nearest(c)) @ np.abs(nearest(c)).T
            again = factor(machine.rounding.sum(machine.numbers, matrix, machine.numbers.exact(magnitudes)))
            _note_pivots(machine, c.diagonal(), again.diagonal())
            c = again
        found.append(c)
    return _stacked(found, matrices.shape)


def _qr(machine: Machine, equation: Any, matrices: np.ndarray) -> list[np.ndarray]:
    """Return Q and R of each matrix."""
    p = equation.params
    if p["pivoting"]:
        raise UnresolvedError("QR with pivoting is not supported in high precision")
    rows, columns = matrices.shape[-2:]
    kept = rows if p["full_matrices"] else min(rows, columns)
    found = [_reflect(machine, matrix) for matrix in matrices.reshape(-1, rows, columns)]
    shapes = [variable.aval.shape for variable in equation.outvars]
    factors = [_stacked([q[:, :kept] for q, _ in found], shapes[0]), _stacked([r[:kept] for _, r in found], shapes[1])]
    if machine.rounding is None or not machine.rounding.everything:
        return factors
    return [machine.rounding.value(machine.numbers, factor) for factor in factors]


def _reflect(machine: Machine, matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the square Q and the R of one matrix, by reflections with the signs that LAPACK chooses."""
    rows, columns = matrix.shape
    machine.spend(4.0 * rows**2 * (columns + rows))
    root, one = machine.numbers.functions["sqrt"], machine.numbers.one
    r, q = np.array(matrix), machine.numbers.exact(np.eye(rows))
    for k in range(min(rows - 1, columns)):
        below = (r[k + 1 :, k] ** 2).sum()
        if below == 0:
            continue
        axis = np.array(r[k:, k])
        axis[0] = axis[0] + (one if axis[0] >= 0 else -one) * root(axis[0] ** 2 + below)
        dual = axis * (2 / (axis**2).sum())
        r[k:] = r[k:] - np.outer(dual, axis @ r[k:])
        q[:, k:] = q[:, k:] - np.outer(q[:, k:] @ axis, dual)
        r[k + 1 :, k] = machine.numbers.zero
    return q, r


def _stacked(arrays: list[np.ndarray], shape: tuple[int, ...]) -> np.ndarray:
    return np.stack(arrays).reshape(shape) if arrays else np.empty(shape, object)


REAL: dict[str, Rule] = {"lu": _lu, "triangular_solve": _triangular_solve, "cholesky": _cholesky, "qr": _qr}
