"""A small stochastic problem with a known answer, on which gradient estimators can be judged.

Minimise over μ and τ, with σ = e^τ,

    E[X sin X] + ½ (μ − 1)² + σ − τ,    X ~ N(μ, σ²).

Parameters are {"mean": μ, "log_scale": τ}, scalars.

Source: seed 003 P6.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

from mathdnn_jax.probability.normal import LOG_TWO_PI

SINE_OPTIMUM = {"mean": 0.44229749, "scale": 0.60649503, "value": 1.69616824}
"""The local minimum that descent from (0, 0) settles at, and the value there, as the source has them.

It is not the least value: that is 1.66440076, at μ = 1.36669930, σ = 1.96219823.
"""

Params = dict[str, jax.Array]


def sine_objective(params: Params) -> jax.Array:
    """e^{−σ²/2} (μ sin μ + σ² cos μ) + ½ (μ − 1)² + σ − τ: the problem's objective in closed form."""
    mean, scale = params["mean"], jnp.exp(params["log_scale"])
    expectation = jnp.exp(-jnp.square(scale) / 2) * (mean * jnp.sin(mean) + jnp.square(scale) * jnp.cos(mean))
    return expectation + sine_penalty(params)


def sine_penalty(params: Params) -> jax.Array:
    """½ (μ − 1)² + σ − τ: the part of the objective that needs no sampling."""
    mean, log_scale = params["mean"], params["log_scale"]
    return 0.5 * jnp.square(mean - 1) + jnp.exp(log_scale) - log_scale


def sine_integrand(params: Params, x: jax.Array) -> jax.Array:  # noqa: ARG001 (an integrand's signature)
    """X sin x, whose expectation the objective has."""
    return x * jnp.sin(x)


def sine_log_prob(params: Params, x: jax.Array) -> jax.Array:
    """Log N(x; μ, σ²), elementwise, in nats."""
    standardized = (x - params["mean"]) * jnp.exp(-params["log_scale"])
    return -0.5 * jnp.square(standardized) - params["log_scale"] - LOG_TWO_PI / 2


def sine_sample(params: Params, key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """X = μ + σ ε, differentiable in the parameters."""
    return params["mean"] + jnp.exp(params["log_scale"]) * jax.random.normal(key, shape, params["mean"].dtype)


def sine_descent(
    estimate_gradient: Callable[[Params, jax.Array], Params], key: jax.Array, num_steps: int = 30_000
) -> Params:
    """Stochastic gradient descent from (0, 0), the k-th step of size 1.5 / (k + 100), all steps in one scan.

    `estimate_gradient(params, key)` estimates ∇E[X sin X]; the penalty's gradient is added to it exactly, as in the
    seed. Steps that decrease as 1/k, the factor above the inverse of twice the least curvature (0.864) at the
    optimum, converge to it, with an error of order 1/√(num_steps · draws per step). Returns the last parameters.
    """

    def step(params: Params, draw: tuple[jax.Array, jax.Array]) -> tuple[Params, None]:
        step_key, size = draw
        sampled, exact = estimate_gradient(params, step_key), jax.grad(sine_penalty)(params)
        return jax.tree.map(lambda value, a, b: value - size * (a + b), params, sampled, exact), None

    start = {"mean": jnp.zeros(()), "log_scale": jnp.zeros(())}
    sizes = 1.5 / (100 + jnp.arange(num_steps, dtype=start["mean"].dtype))
    return jax.lax.scan(step, start, (jax.random.split(key, num_steps), sizes))[0]
