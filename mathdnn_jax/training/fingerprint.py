"""Checksums of arrays, computed on the devices that hold them."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

MULTIPLIERS = (0x9E3779B1, 0x85EBCA77)


def fingerprint(array: jax.Array) -> jax.Array:
    """Two checksums of an array's bits, uint32 (2,): c_m = Σ_i (2 i m + 1) w_i mod 2³², over its 32-bit words w_i.

    Every weight is odd, so that a change of any single word is detected. Integer sums do not depend on the order of
    summation, so an array has the same checksums however it is sharded.
    """
    words = _words(array)
    place = jnp.zeros(words.shape, jnp.uint32)
    stride = 1
    for axis in reversed(range(words.ndim)):
        place += jax.lax.broadcasted_iota(jnp.uint32, words.shape, axis) * jnp.uint32(stride % 2**32)
        stride *= words.shape[axis]
    sums = [jnp.sum((2 * place * jnp.uint32(m) + 1) * words, dtype=jnp.uint32) for m in MULTIPLIERS]
    return jnp.stack(sums)


def fingerprints(arrays: dict[str, Any]) -> dict[str, list[int]]:
    """The checksums of named JAX or NumPy arrays as plain integers."""
    return {name: np.asarray(value).tolist() for name, value in _all(arrays).items()}


@jax.jit
def _all(arrays: dict[str, Any]) -> dict[str, jax.Array]:
    return {name: fingerprint(array) for name, array in arrays.items()}


def _words(array: jax.Array) -> jax.Array:
    if array.dtype == jnp.bool_:
        array = array.astype(jnp.uint8)
    size = array.dtype.itemsize
    if jnp.issubdtype(array.dtype, jnp.complexfloating):
        array = jnp.stack([array.real, array.imag], axis=-1)
        size //= 2
    if size >= 4:
        # 64-bit numbers become pairs of words along a new trailing axis.
        return jax.lax.bitcast_convert_type(array, jnp.uint32)
    return jax.lax.bitcast_convert_type(array, {1: jnp.uint8, 2: jnp.uint16}[size]).astype(jnp.uint32)
