"""The standard normal distribution."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from mathdnn_jax.probability.distribution import Distribution, check_event

LOG_TWO_PI = math.log(2 * math.pi)


def normal(event_shape: tuple[int, ...]) -> Distribution:
    """Independent standard normal entries: log p(z) = −½ Σ_i z_i² − (d/2) log 2π, summed over the event's d entries.

    `log_prob` maps (..., *event_shape) to (...); it raises EventShapeError for other trailing axes.
    """
    axes = tuple(range(-len(event_shape), 0))
    log_normalizer = math.prod(event_shape) * LOG_TWO_PI / 2

    def log_prob(z: jax.Array) -> jax.Array:
        check_event(z, event_shape, "the normal prior")
        return -0.5 * jnp.square(z).sum(axes) - log_normalizer

    def sample(key: jax.Array, shape: tuple[int, ...], dtype: DTypeLike = jnp.float32) -> jax.Array:
        return jax.random.normal(key, (*shape, *event_shape), dtype)

    return Distribution(log_prob, sample, event_shape)
