"""Multiplication of the last axis of an array by a matrix."""

from __future__ import annotations

import math

import jax


def matmul_last_axis(x: jax.Array, matrix: jax.Array) -> jax.Array:
    """x (..., I), matrix W (I, O) → x W (..., O), as a single product of two matrices.

    The gradient of `x @ matrix` with respect to the matrix is a sum over all leading axes of x. On a CPU, XLA takes
    three times as long for that sum as for the same sum over a single axis, so the leading axes are merged first.
    """
    if x.ndim <= 2:
        return x @ matrix
    product: jax.Array = x.reshape(math.prod(x.shape[:-1]), x.shape[-1]) @ matrix
    return product.reshape(*x.shape[:-1], matrix.shape[-1])
