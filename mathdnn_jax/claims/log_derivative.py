"""Claims about the log-derivative identity: V3."""

from __future__ import annotations

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np

from mathdnn_jax.claims.claim import claim
from mathdnn_jax.claims.evidence import EPS, check_equal, seeds
from mathdnn_jax.claims.quadrature import normal_rule
from mathdnn_jax.probability import score_function_surrogate, sine_log_prob

Params = dict[str, jax.Array]

NODES, MASSES = normal_rule(64)


@claim(
    "V3.categorical",
    "∇_φ E_q[log(h/q)] = E_q[∇_φ log q · log(h/q)], exactly, for q = softmax(φ) and any h > 0",
    source="course 003, P1",
    seed=seeds,
)
def log_derivative_of_sums(seed: int) -> None:
    """Sum over all five outcomes; the right side averages the gradients of the surrogate."""
    rng = np.random.default_rng(seed)
    logits, log_h = 2 * rng.normal(size=5), 3 * rng.normal(size=5)
    left, right = _categorical(jnp.asarray(logits), jnp.asarray(log_h))
    check_equal("∇E[log(h/q)] against E[∇log q · log(h/q)]", left, right, 64 * EPS * (np.abs(log_h).max() + 20))


@jax.jit
def _categorical(logits: jax.Array, log_h: jax.Array) -> tuple[jax.Array, jax.Array]:
    def expectation(logits: jax.Array) -> jax.Array:
        log_q = jax.nn.log_softmax(logits)
        return (jnp.exp(log_q) * (log_h - log_q)).sum()

    def surrogates(logits: jax.Array) -> jax.Array:
        log_q = jax.nn.log_softmax(logits)
        return score_function_surrogate(log_h - jax.lax.stop_gradient(log_q), log_q)

    return jax.grad(expectation)(logits), jax.nn.softmax(logits) @ jax.jacfwd(surrogates)(logits)


@claim(
    "V3.gaussian",
    "∇_φ E_q[log(h/q)] = E_q[∇_φ log q · log(h/q)] for q = N(μ, σ²) and log h(z) = a z + b z² − z⁴/4 + c sin z",
    source="course 003, P1",
    mean=st.floats(-2, 2),
    log_scale=st.floats(-2, 0.7),
    seed=seeds,
)
def log_derivative_of_integrals(mean: float, log_scale: float, seed: int) -> None:
    """Integrate by Gauss–Hermite quadrature, and differentiate the left side through z = μ + σ ε."""
    params = {"mean": jnp.asarray(mean), "log_scale": jnp.asarray(log_scale)}
    left, right = _gaussian(params, jnp.asarray(np.random.default_rng(seed).normal(size=3)))
    for name in left:
        # The terms have magnitudes of up to 1e4. The rule is exact up to degree 127, and up to rounding for the sine.
        check_equal(f"∂/∂{name}", left[name], right[name], 1e-9)


@jax.jit
def _gaussian(params: Params, weights: jax.Array) -> tuple[Params, Params]:
    def log_h(z: jax.Array) -> jax.Array:
        return weights[0] * z + weights[1] * z * z - z**4 / 4 + weights[2] * jnp.sin(z)

    def draws(params: Params) -> jax.Array:
        return params["mean"] + jnp.exp(params["log_scale"]) * NODES

    def expectation(params: Params) -> jax.Array:
        z = draws(params)
        return jnp.asarray(MASSES) @ (log_h(z) - sine_log_prob(params, z))

    def surrogate(params: Params) -> jax.Array:
        z = jax.lax.stop_gradient(draws(params))
        log_q = sine_log_prob(params, z)
        return jnp.asarray(MASSES) @ score_function_surrogate(log_h(z) - jax.lax.stop_gradient(log_q), log_q)

    return jax.grad(expectation)(params), jax.grad(surrogate)(params)
