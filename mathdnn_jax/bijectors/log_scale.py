"""Log-scales that a network returns, kept within a bound."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

from mathdnn_jax.errors import ConfigurationError


def bounded(log_scale: jax.Array, bound: float | None) -> jax.Array:
    """C tanh(s̃ / c), which is in (−c, c) and has slope 1 at zero; s̃ itself where there is no bound c."""
    return log_scale if bound is None else bound * jnp.tanh(log_scale / bound)


def check_bound(bound: float | None) -> None:
    """Refuse bounds that bound nothing.

    Raises:
        ConfigurationError: the bound is not a positive number.
    """
    if bound is not None and not 0 < bound < math.inf:
        raise ConfigurationError(f"a bound on the log-scale is a positive number, given {bound}")
