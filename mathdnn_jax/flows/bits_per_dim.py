"""Log-likelihoods in the unit in which image models are compared."""

from __future__ import annotations

import math

import jax

from mathdnn_jax.errors import ConfigurationError


def bits_per_dim(log_prob: jax.Array, event_shape: tuple[int, ...], levels: int = 256) -> jax.Array:
    """−(log p(y) − D log(levels)) / (D log 2), in bits: of log p in nats to bits for each of an event's D entries.

    log p is the density of images in [0, 1] that `dequantize` made of integers with that many levels; the term
    D log(levels) makes of it a bound on the probability of the integers. levels=1 takes the density as it is.

    Raises:
        ConfigurationError: levels < 1, or an event without entries.
    """
    entries = math.prod(event_shape)
    if levels < 1 or entries < 1:
        raise ConfigurationError(
            f"bits_per_dim takes an event with entries and at least one level, given event_shape={event_shape}, "
            f"levels={levels}"
        )
    return -(log_prob / entries - math.log(levels)) / math.log(2)
