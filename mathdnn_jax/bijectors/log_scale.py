"""Bounds on the log-scales that a network returns."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

from mathdnn_jax.errors import ConfigurationError


def bounded(log_scale: jax.Array, bound: float | None) -> jax.Array:
    """c tanh(s̃ / c), which lies in (−c, c) and has slope 1 at zero; s̃ itself if there is no bound c."""
    return log_scale if bound is None else bound * jnp.tanh(log_scale / bound)


def check_bound(bound: float | None) -> None:
    """Check a bound on the log-scale.

    Raises:
        ConfigurationError: the bound is not a positive number.
    """
    if bound is not None and not 0 < bound < math.inf:
        raise ConfigurationError(f"a bound on the log-scale must be a positive number, given {bound}")
