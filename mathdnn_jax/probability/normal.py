"""The standard normal distribution."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from mathdnn_jax.events import Shape, batch_shape_of, check_event
from mathdnn_jax.probability.distribution import Distribution

LOG_TWO_PI = math.log(2 * math.pi)


def normal(event_shape: tuple[int, ...]) -> Distribution:
    """Independent standard normal entries: log p(z) = −½ Σ_i z_i² − (d/2) log 2π, summed over the event's d entries.

    `log_prob` maps (..., *event_shape) to (...) and raises EventShapeError for other trailing axes.

    Example:
        >>> import jax, jax.numpy as jnp, mathdnn_jax as mj
        >>> prior = mj.probability.normal((2,))
        >>> round(float(prior.log_prob(jnp.zeros(2))), 4)  # −log 2π
        -1.8379
        >>> prior.sample(jax.random.key(0), (3,), jnp.float32).shape
        (3, 2)
    """
    axes = tuple(range(-len(event_shape), 0))
    log_normalizer = math.prod(event_shape) * LOG_TWO_PI / 2

    def log_prob(z: jax.Array) -> jax.Array:
        check_event(z, event_shape, "the normal prior")
        return -0.5 * jnp.square(z).sum(axes) - log_normalizer

    def sample(key: jax.Array, shape: Shape, dtype: DTypeLike = jnp.float32) -> jax.Array:
        return jax.random.normal(key, (*batch_shape_of(shape), *event_shape), dtype)

    return Distribution(log_prob, sample, event_shape)
