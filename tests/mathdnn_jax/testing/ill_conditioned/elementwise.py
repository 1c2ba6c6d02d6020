"""Increasing functions at events where they are very flat or steep, with log-determinants that stay accurate there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np

from .pieces import Map, Result

Rng = np.random.Generator

ELEMENTWISE: dict[str, tuple[Callable[[jax.Array], Result], Callable[[jax.Array], Result]]] = {
    "tanh": (
        lambda x: (jnp.tanh(x), 2 * (np.log(2) - x - jax.nn.softplus(-2 * x)).sum(-1)),
        lambda z: (jnp.arctanh(z), -(jnp.log1p(-z) + jnp.log1p(z)).sum(-1)),
    ),
    "sigmoid": (
        lambda x: (jax.nn.sigmoid(x), -(jax.nn.softplus(x) + jax.nn.softplus(-x)).sum(-1)),
        lambda z: (jnp.log(z) - jnp.log1p(-z), -(jnp.log(z) + jnp.log1p(-z)).sum(-1)),
    ),
    "softplus": (
        lambda x: (jax.nn.softplus(x), -jax.nn.softplus(-x).sum(-1)),
        lambda z: (z + jnp.log(-jnp.expm1(-z)), -jnp.log(-jnp.expm1(-z)).sum(-1)),
    ),
    "sinh": (
        lambda x: (jnp.sinh(x), (jnp.abs(x) + jax.nn.softplus(-2 * jnp.abs(x)) - np.log(2)).sum(-1)),
        lambda z: (jnp.arcsinh(z), -jnp.log(jnp.hypot(1.0, z)).sum(-1)),
    ),
    "gumbel": (
        lambda x: (jnp.exp(-jnp.exp(-x)), -(x + jnp.exp(-x)).sum(-1)),
        lambda z: (-jnp.log(-jnp.log(z)), -(jnp.log(z) + jnp.log(-jnp.log(z))).sum(-1)),
    ),
}


def elementwise(rng: Rng, most: float = 2.5) -> Map:
    """One of these functions, applied to a x + b, where a is at most `most`."""
    name = str(rng.choice(list(ELEMENTWISE)))
    function, back = ELEMENTWISE[name]
    # exp(exp(x)) leaves the range of float64 before anything is lost.
    most = 2.5 if name == "gumbel" else most
    scale, shift = np.float32(rng.uniform(0.5, most)), np.float32(rng.uniform(-8, 8))

    def forward(p: Any, x: jax.Array) -> Result:
        z, log_det = function(p[0] * x + p[1])
        return z, log_det + x.shape[-1] * jnp.log(p[0])

    def inverse(p: Any, z: jax.Array) -> Result:
        x, log_det = back(z)
        return (x - p[1]) / p[0], log_det - z.shape[-1] * jnp.log(p[0])

    return Map(forward, inverse, {"event_shape": (int(rng.integers(1, 4)),), "params": st.just((scale, shift))})


def kumaraswamy(rng: Rng) -> Map:
    """1 − (1 − x^a)^b on (0, 1), which for large b differs from one only after hundreds of digits."""
    a, b = 10.0 ** rng.uniform(-0.5, 2.5, 2)
    params = np.float32(a), np.float32(b)

    def log_slope(p: Any, x: jax.Array) -> jax.Array:
        each: jax.Array = (p[0] - 1) * jnp.log(x) + (p[1] - 1) * jnp.log1p(-(x ** p[0]))
        total: jax.Array = (each + jnp.log(p[0]) + jnp.log(p[1])).sum(-1)
        return total

    def forward(p: Any, x: jax.Array) -> Result:
        return -jnp.expm1(p[1] * jnp.log1p(-(x ** p[0]))), log_slope(p, x)

    def inverse(p: Any, z: jax.Array) -> Result:
        x = jnp.exp(jnp.log(-jnp.expm1(jnp.log1p(-z) / p[1])) / p[0])
        return x, -log_slope(p, x)

    return Map(forward, inverse, {"event_shape": (2,), "params": st.just(params), "support": (0.0, 1.0)})
