"""A model of rounding that moves the constants, inputs and sums of a program by small random amounts."""

from __future__ import annotations

import zlib

import numpy as np

from mathdnn_jax.testing.high_precision.numbers import Arithmetic

EXACT_BITS = 8
"""An entry with at most this many binary digits (0, ±1, 2, ½) is taken as exact, not as a rounded number."""

EXACT_BITS_OF_SCALARS = 24
"""The same for a single number such as 10000, because people write single numbers but compute arrays."""


class Rounding:
    """One draw of random relative changes of at most `size`.

    A constant is moved in the same way wherever it occurs, even in another program, because a map and its inverse close
    over the same matrix. If `everything` is set, inputs and the results of sums and solves are moved too, each of them
    independently.
    """

    def __init__(self, size: float, draw: int, *, everything: bool) -> None:
        self.size = size
        self.draw = draw
        self.everything = everything
        self._rng = np.random.default_rng(draw)

    def constant(self, numbers: Arithmetic, array: np.ndarray) -> np.ndarray:
        """Move the entries of a constant, except those that are taken as exact."""
        rng = np.random.default_rng((zlib.crc32(np.ascontiguousarray(array).tobytes()), self.draw))
        moves = np.where(inexact(array), self.size * rng.uniform(-1, 1, array.shape), 0.0)
        return np.asarray(numbers.exact(array) * (1 + numbers.exact(moves)), object)

    def value(self, numbers: Arithmetic, array: np.ndarray) -> np.ndarray:
        """Move each entry relative to itself."""
        return np.asarray(array * (1 + self._moves(numbers, array.shape)), object)

    def sum(self, numbers: Arithmetic, array: np.ndarray, magnitudes: np.ndarray) -> np.ndarray:
        """Move sums relative to `magnitudes`, the sums of the absolute values of their terms."""
        return np.asarray(array + self._moves(numbers, array.shape) * magnitudes, object)

    def _moves(self, numbers: Arithmetic, shape: tuple[int, ...]) -> np.ndarray:
        return numbers.exact(self.size * self._rng.uniform(-1, 1, shape))


def inexact(array: np.ndarray) -> np.ndarray:
    """Return which entries of a constant may be rounded numbers."""
    mantissas, _ = np.frexp(np.where(np.isfinite(array), array, 0.0))
    return np.asarray(np.ldexp(mantissas, EXACT_BITS if array.ndim else EXACT_BITS_OF_SCALARS) % 1 != 0)
