"""Bits per dimension, the unit in which image models are compared."""

from __future__ import annotations

import math

import jax

from mathdnn_jax.errors import ConfigurationError


def bits_per_dim(log_prob: jax.Array, event_shape: tuple[int, ...], levels: int = 256) -> jax.Array:
    """−(log p(y) − D log(levels)) / (D log 2): convert log p in nats to bits for each of an event's D entries.

    log p is the density of images in [0, 1] that `dequantize` made from integers with that many levels. The term
    D log(levels) turns it into a bound on the probability of the integers; with levels=1 the density is taken as it
    is.

    Raises:
        ConfigurationError: levels < 1, or the event has no entries.

    Example:
        >>> import jax.numpy as jnp, mathdnn_jax as mj
        >>> uniform = jnp.zeros(2)  # log p of two images under the uniform density on [0, 1]^784
        >>> mj.flows.bits_per_dim(uniform, (28, 28, 1)).tolist()
        [8.0, 8.0]
    """
    entries = math.prod(event_shape)
    if levels < 1 or entries < 1:
        raise ConfigurationError(
            f"bits_per_dim takes an event shape without empty axes and at least one level, given "
            f"event_shape={event_shape}, levels={levels}"
        )
    return -(log_prob / entries - math.log(levels)) / math.log(2)
