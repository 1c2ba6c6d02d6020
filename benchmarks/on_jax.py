"""JAX's side of a comparison: its device, its precision, its matrix product, its waiting."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import jax
import jax.numpy as jnp
import numpy as np

PRECISION = "highest"


def highest_precision() -> AbstractContextManager[object]:
    """Float32 matrix products in float32; on accelerators JAX's default is less."""
    precision: AbstractContextManager[object] = jax.default_matmul_precision(PRECISION)
    return precision


def on_device(array: np.ndarray) -> jax.Array:
    """The array on JAX's default device, there when this returns."""
    there: jax.Array = jax.device_put(array).block_until_ready()
    return there


def matmul(size: int) -> Callable[[], object]:
    """A float32 matrix product of `size`³, 2 size³ FLOPs, ready to be timed: compiled, the matrices on the device."""
    matrix = on_device(np.random.default_rng(0).standard_normal((size, size), dtype=np.float32))
    product = jax.jit(jnp.matmul)

    def multiply() -> object:
        return product(matrix, matrix).block_until_ready()

    multiply()
    return multiply
