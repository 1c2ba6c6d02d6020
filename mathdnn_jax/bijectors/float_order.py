"""Ranks of floating-point numbers along the real line, by which a bracket can be halved down to adjacent floats.

Halving a bracket at its arithmetic mean takes a thousand rounds if the root is tiny. Halving the number of floats in it
takes 32 rounds in float32 and 64 in float64, wherever the root lies.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax

from mathdnn_jax.errors import ConfigurationError

INTEGERS = {"float32": jnp.int32, "float64": jnp.int64}


def check_float(x: jax.Array, name: str) -> None:
    """Check that `x` has a dtype whose floats can be ranked.

    Raises:
        ConfigurationError: the dtype is neither float32 nor float64.
    """
    if x.dtype.name not in INTEGERS:
        raise ConfigurationError(f"{name} works on float32 and float64, given {x.dtype.name}")


def rank(x: jax.Array) -> jax.Array:
    """The number of floats between 0 and x, negative for negative x: adjacent floats have adjacent ranks."""
    magnitude = lax.bitcast_convert_type(jnp.abs(x), INTEGERS[x.dtype.name])
    return jnp.where(x < 0, -magnitude, magnitude)


def float_of_rank(count: jax.Array, dtype: jnp.dtype) -> jax.Array:
    """The inverse of `rank`."""
    magnitude = lax.bitcast_convert_type(jnp.abs(count), dtype)
    return jnp.where(count < 0, -magnitude, magnitude)


def middle(low: jax.Array, high: jax.Array) -> jax.Array:
    """⌊(low + high) / 2⌋ of two integers whose sum may overflow."""
    return (low & high) + ((low ^ high) >> 1)
