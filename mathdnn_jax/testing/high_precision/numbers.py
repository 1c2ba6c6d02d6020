"""Arrays of `mpmath` numbers, which are NumPy arrays of dtype object, and functions of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

Number = Any
"""A number of `mpmath`."""

LARGEST_EXPONENT = 4096
"""The largest binary exponent of an argument that is reduced modulo a constant, which takes that many bits."""


class UnresolvedError(Exception):
    """High precision cannot follow a program, or not far enough to decide. The message says why."""


class UndefinedError(UnresolvedError):
    """A result is NaN or infinite with this many digits. With more digits it may be a number."""


class Arithmetic:
    """Arithmetic with a fixed number of digits. The global precision of `mpmath` is not changed."""

    def __init__(self, digits: int) -> None:
        import mpmath

        self.digits = digits
        self.context = mpmath.MPContext()
        self.context.dps = digits
        self.zero, self.one = self.context.mpf(0), self.context.mpf(1)
        self._functions: dict[str, Callable[..., Number]] | None = None

    def exact(self, array: Any) -> np.ndarray:
        """Convert an array of floats or integers without rounding."""
        array = np.asarray(array)
        if array.dtype == object:
            return np.asarray(array)
        if array.dtype.kind not in "iub":
            array = array.astype(np.float64)
        known = {0: self.zero, 1: self.one}
        numbers = [known[v] if v in known else self.context.mpf(v) for v in array.reshape(-1).tolist()]
        return objects(numbers, array.shape)

    def zeros(self, shape: tuple[int, ...]) -> np.ndarray:
        """Return an array of zeros."""
        return np.full(shape, self.zero, object)

    def apply(self, function: Callable[..., Number], *arrays: np.ndarray) -> np.ndarray:
        """Apply a function of single numbers to every entry. The arrays are broadcast.

        Raises:
            UnresolvedError: the function fails.
        """
        try:
            return boxed(np.frompyfunc(function, len(arrays), 1)(*arrays))
        except (ValueError, ArithmeticError) as error:
            raise UnresolvedError(f"a function has no value in high precision: {error}") from error

    @property
    def functions(self) -> dict[str, Callable[..., Number]]:
        """The elementwise functions, by the names of JAX's primitives."""
        if self._functions is None:
            from mathdnn_jax.testing.high_precision.functions import functions

            self._functions = functions(self.context)
        return self._functions


def nearest(array: np.ndarray) -> np.ndarray:
    """Round to float64. Numbers beyond its range become infinite."""
    if array.dtype != object:
        return np.asarray(array, np.float64)
    # Some versions of NumPy warn about NaN and about numbers that become infinite.
    with np.errstate(over="ignore", invalid="ignore"):
        return array.astype(np.float64)


def objects(numbers: list[Number], shape: tuple[int, ...]) -> np.ndarray:
    """Return an array of these numbers, given in C order."""
    array = np.empty(len(numbers), object)
    array[:] = numbers
    return array.reshape(shape)


def boxed(result: Any) -> np.ndarray:
    """Return the result of a ufunc as an array. NumPy returns a bare number if there are no axes."""
    return np.asarray(result, object)


def finite(array: np.ndarray) -> np.ndarray:
    """Return which entries are neither infinite nor NaN."""
    return np.asarray(np.frompyfunc(lambda v: v - v == 0, 1, 1)(array)).astype(bool)
