"""e^y − 1 − y, the distance of the exponential from its tangent at 0."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

SERIES_BELOW = 0.3
COEFFICIENTS = tuple(1 / math.factorial(k) for k in range(2, 16))


def tangent_gap(y: jax.Array) -> jax.Array:
    """e^y − 1 − y, elementwise, never negative and accurate near 0, where it is y²/2.

    The KL of two Gaussians with equal means is half of its value at the logarithm of the ratio of their variances. For
    |y| < 0.3 it is computed by its power series (the omitted terms are below 1e-20 of the sum), otherwise as
    expm1(y) − y.
    """
    small = jnp.abs(y) < SERIES_BELOW
    # Each branch receives a harmless argument where the other one is used, so that no derivative becomes inf · 0.
    near, far = jnp.where(small, y, 0), jnp.where(small, 1, y)
    series = jnp.full_like(y, COEFFICIENTS[-1])
    for coefficient in reversed(COEFFICIENTS[:-1]):
        series = series * near + coefficient
    return jnp.where(small, jnp.square(near) * series, jnp.expm1(far) - far)
