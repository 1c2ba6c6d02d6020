"""The pairwise sum, used for log-determinants."""

from __future__ import annotations

import jax
import jax.numpy as jnp


def pairwise_sum(x: jax.Array) -> jax.Array:
    """Σ_i x_i over the last axis (..., n) → (...), in ⌈log₂ n⌉ rounds of adding one half to the other.

    The error is at most ⌈log₂ n⌉ u Σ|x_i|, where u is the unit round-off. A log-determinant that depends only on the
    parameters is a term of every event's log p, so its error does not average out. On a CPU, XLA adds a single row one
    entry after the other, with errors of up to n u Σ|x_i|; for the 784 log-scales of NICE they are seven times larger.
    """
    while x.shape[-1] > 1:
        half = x.shape[-1] // 2
        odd_one = x[..., 2 * half :]
        x = jnp.concatenate([x[..., :half] + x[..., half : 2 * half], odd_one], axis=-1)
    return x[..., 0]
