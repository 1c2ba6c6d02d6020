"""Claims about the log-derivative identity: V3, E14."""

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
    """Sum over all five outcomes; the right side is the formula, and the mean of the surrogate's gradients."""
    rng = np.random.default_rng(seed)
    logits, log_h = 2 * rng.normal(size=5), 3 * rng.normal(size=5)
    left, surrogate, formula = _categorical(jnp.asarray(logits), jnp.asarray(log_h))
    bound = 64 * EPS * (np.abs(log_h).max() + 20)
    check_equal("∇E[log(h/q)] against E[∇log q · log(h/q)]", left, formula, bound)
    check_equal("mean gradient of the surrogate", surrogate, formula, bound)


@jax.jit
def _categorical(logits: jax.Array, log_h: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    def expectation(logits: jax.Array) -> jax.Array:
        log_q = jax.nn.log_softmax(logits)
        return (jnp.exp(log_q) * (log_h - log_q)).sum()

    def surrogates(logits: jax.Array) -> jax.Array:
        log_q = jax.nn.log_softmax(logits)
        return score_function_surrogate(log_h - jax.lax.stop_gradient(log_q), log_q)

    q = jax.nn.softmax(logits)
    slopes = jax.jacfwd(jax.nn.log_softmax)(logits)
    formula = (q * (log_h - jnp.log(q))) @ slopes
    return jax.grad(expectation)(logits), q @ jax.jacfwd(surrogates)(logits), formula


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
    weights = np.random.default_rng(seed).normal(size=3)
    left, right = _gaussian(params, jnp.asarray(weights))
    scale = np.exp(log_scale)
    z = mean + scale * NODES
    log_h = weights[0] * z + weights[1] * z * z - z**4 / 4 + weights[2] * np.sin(z)
    log_ratio = log_h + NODES**2 / 2 + log_scale + np.log(2 * np.pi) / 2
    formula = {"mean": MASSES @ (NODES / scale * log_ratio), "log_scale": MASSES @ ((NODES**2 - 1) * log_ratio)}
    for name in left:
        # The terms have magnitudes of up to 1e4. The rule is exact up to degree 127, and up to rounding for the sine.
        check_equal(f"∂/∂{name}", left[name], formula[name], 1e-9)
        check_equal(f"∂/∂{name} of the surrogate", right[name], formula[name], 1e-9)


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


@claim(
    "E14.support",
    "∇_φ E_q[log(h/q)] = E_q[∇_φ log q · log(h/q)] for every differentiable family q",
    source="course 003, P1; erratum E14",
    verdict="refuted",
    phi=st.integers(1, 8).map(lambda quarters: quarters / 4),
    h=st.integers(1, 4),
)
def identity_with_a_moving_support(phi: float, h: int) -> None:
    """Take q = U(0, φ), whose support depends on φ, and a constant h: the sides are 1/φ and −log(h φ)/φ."""
    left, right = (float(side) for side in _uniform(jnp.asarray(phi), jnp.asarray(float(h))))
    explained = abs(left - 1 / phi) < 1e-12 and abs(right + np.log(h * phi) / phi) < 1e-12
    if abs(left - right) > 1e-6 and explained:
        other = ", ".join(f"{float(side):.4g}" for side in _uniform(jnp.asarray(2.0), jnp.asarray(3.0)))
        raise AssertionError(
            f"for φ = {phi:g} and h = {h} the left side is {left:.6g}, the right one {right:.6g}; for φ = 2 and h = 3 "
            f"they are {other}"
        )


@jax.jit
def _uniform(phi: jax.Array, h: jax.Array) -> tuple[jax.Array, jax.Array]:
    u = (jnp.arange(16, dtype=phi.dtype) + 0.5) / 16

    def log_q(phi: jax.Array, z: jax.Array) -> jax.Array:
        return jnp.where((z > 0) & (z < phi), -jnp.log(phi), -jnp.inf)

    def expectation(phi: jax.Array) -> jax.Array:
        return jnp.mean(jnp.log(h) - log_q(phi, phi * u))

    score = jax.vmap(jax.grad(log_q), (None, 0))(phi, phi * u)
    return jax.grad(expectation)(phi), jnp.mean(score * (jnp.log(h) - log_q(phi, phi * u)))
