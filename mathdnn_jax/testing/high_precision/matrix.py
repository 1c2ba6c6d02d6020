"""The determinant and the inverse of a matrix in high precision, by elimination with partial pivoting."""

from __future__ import annotations

import numpy as np

from mathdnn_jax.testing.high_precision.machine import Machine
from mathdnn_jax.testing.high_precision.numbers import Number, UndefinedError, finite
from mathdnn_jax.testing.high_precision.solves import eliminate


def log_abs_det(machine: Machine, matrix: np.ndarray) -> tuple[int, Number]:
    """Return the sign and log|det| of a square matrix, or (0, −∞) if a pivot is zero with this machine's digits.

    Raises:
        UndefinedError: an entry is not finite.
    """
    context = machine.numbers.context
    if not finite(matrix).all():
        raise UndefinedError("the Jacobian is not finite in high precision")
    factors, order = eliminate(machine, matrix)
    pivots = factors.diagonal()
    if any(pivot == 0 for pivot in pivots):
        return 0, -context.inf
    machine.spend(15.0 * len(pivots))
    odd = _is_odd(order) != (sum(pivot < 0 for pivot in pivots) % 2 == 1)
    return -1 if odd else 1, context.fsum(context.log(abs(pivot)) for pivot in pivots)


def inverse(machine: Machine, matrix: np.ndarray) -> np.ndarray | None:
    """Return the inverse of a square matrix, or None if a pivot is zero with this machine's digits."""
    factors, order = eliminate(machine, matrix)
    if any(pivot == 0 for pivot in factors.diagonal()):
        return None
    size = len(factors)
    x = machine.exact(np.eye(size)[order])

    def subtract(i: int, others: np.ndarray) -> None:
        machine.spend(2.0 * size * others.size)
        if others.size:
            x[i] = x[i] - factors[i, others] @ x[others]

    for i in range(size):
        subtract(i, np.flatnonzero(factors[i, :i]))
    for i in reversed(range(size)):
        subtract(i, i + 1 + np.flatnonzero(factors[i, i + 1 :]))
        machine.spend(4.0 * size)
        x[i] = x[i] / factors[i, i]
    return x


def _is_odd(order: np.ndarray) -> bool:
    """Return whether a permutation is odd, that is, the number of entries minus the number of cycles is odd."""
    seen, cycles = set(), 0
    for start in range(len(order)):
        cycles += start not in seen
        while start not in seen:
            seen.add(start)
            start = int(order[start])
    return (len(order) - cycles) % 2 == 1
