"""Claims about the logistic prior and its sampler: F1, E12."""

from __future__ import annotations

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np

from mathdnn_jax.claims.chance import Effect, check_unbiased, mean_and_error
from mathdnn_jax.claims.claim import claim
from mathdnn_jax.claims.evidence import EPS, check_equal
from mathdnn_jax.probability import logistic, logistic_log_density, logistic_sample

DRAWS = 200_000
GRID = 2**24
"""PyTorch's uniform float32 numbers on [0, 1) are the multiples of 1/GRID, 0 among them."""


def _softplus(z: np.ndarray) -> np.ndarray:
    return np.asarray(np.logaddexp(0, z))


@claim(
    "F1.density",
    "log p(z) = Σ_i −softplus(z_i) − softplus(−z_i), where each p(z_i) is the derivative of the distribution function "
    "1/(1 + e^−z)",
    source="course 000, Q3; course 003, P3",
    z=st.lists(st.floats(-30, 30), min_size=3, max_size=3),
)
def logistic_density(z: list[float]) -> None:
    """Compare with the formula, and with the derivative of the distribution function by autodiff."""
    event = np.array(z)
    log_density, derivative = _logistic(event)
    check_equal("density over derivative", np.exp(log_density) / derivative, np.ones(3), 64 * EPS)
    terms = -_softplus(event) - _softplus(-event)
    check_equal("log-density against the formula", log_density, terms, 8 * EPS * (1 - terms))
    summed = logistic((3,)).log_prob(jnp.asarray(event))
    check_equal("log-density of the event", summed, terms.sum(), 16 * EPS * (1 - terms.sum()))


@jax.jit
def _logistic(z: jax.Array) -> tuple[jax.Array, jax.Array]:
    return logistic_log_density(z), jax.vmap(jax.grad(lambda z: 1 / (1 + jnp.exp(-z))))(z)


@claim(
    "F1.sampler",
    "log u − log(1 − u) with u uniform on the open interval (0, 1) is finite and has the distribution function "
    "1/(1 + e^−z), mean 0 and variance π²/3",
    source="course 000, Q3; course 003, P3; erratum E12",
    sampled=True,
)
def logistic_draws(seed: int) -> list[Effect]:
    """Take 200,000 draws: 11 statistics. Count those below nine levels, and compare the mean and the mean square."""
    key = jax.random.key(seed)
    z = np.asarray(logistic_sample(key, (DRAWS,), jnp.float64))
    # u is drawn from the midpoints of a grid.
    u = np.asarray(jax.random.uniform(key, (DRAWS,), jnp.float64)) + EPS / 2
    check_equal("draws against log u − log(1 − u)", z, np.log(u) - np.log1p(-u), 64 * EPS * (1 + np.abs(z)))
    if not np.isfinite(z).all():
        raise AssertionError(f"{(~np.isfinite(z)).sum()} of {DRAWS:,} draws are not finite")
    levels = np.linspace(-4, 4, 9)
    moments = np.column_stack([z < levels[k] for k in range(9)] + [z, z * z])
    truth = np.concatenate([1 / (1 + np.exp(-levels)), [0.0, np.pi**2 / 3]])
    return [check_unbiased("distribution function, mean and mean square", *mean_and_error(moments), truth)]


def _uniform(index: int) -> np.floating:
    return np.float32(index) / np.float32(GRID)


@claim(
    "E12.zero",
    "log u − log(1 − u) is finite for every u that Uniform(0, 1) returns",
    source="course 000, Q3; course 003, P3; erratum E12",
    verdict="refuted",
    index=st.integers(0, GRID - 1),
)
def uniform_draws_are_positive(index: int) -> None:
    """Take any of the 2²⁴ float32 numbers that PyTorch's uniform distribution on [0, 1) returns, equally often."""
    u = _uniform(index)
    with np.errstate(divide="ignore"):
        z = np.log(u) - np.log(1 - u)
    if not np.isfinite(z):
        raise AssertionError(
            f"u = {u:g} gives {z}; one draw in {GRID:,} is expected to be 0, or 14.3 in 2.4e8, of which 12 were seen"
        )
