"""A small stochastic optimisation problem with a known solution, for comparing gradient estimators.

Minimise over μ and τ, with σ = e^τ,

    E[X sin X] + ½ (μ − 1)² + σ − τ,    X ~ N(μ, σ²).

The parameters are {"mean": μ, "log_scale": τ}, both scalars.

Source: course 003, P6.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

from mathdnn_jax.events import Shape, batch_shape_of
from mathdnn_jax.probability.normal import LOG_TWO_PI

SINE_OPTIMUM = {"mean": 0.44229749, "scale": 0.60649503, "value": 1.69616824}
"""The local minimum that gradient descent from (0, 0) converges to, and its value.

It is not the global minimum, which is 1.66440076 at μ = 1.36669930, σ = 1.96219823.
"""

Params = dict[str, jax.Array]


def sine_objective(params: Params) -> jax.Array:
    """The objective of the problem in closed form: e^{−σ²/2} (μ sin μ + σ² cos μ) + ½ (μ − 1)² + σ − τ.

    Returns:
        A scalar.
    """
    mean, scale = params["mean"], jnp.exp(params["log_scale"])
    expectation = jnp.exp(-jnp.square(scale) / 2) * (mean * jnp.sin(mean) + jnp.square(scale) * jnp.cos(mean))
    return expectation + sine_penalty(params)


def sine_penalty(params: Params) -> jax.Array:
    """The part of the objective that needs no sampling: ½ (μ − 1)² + σ − τ.

    Returns:
        A scalar.
    """
    mean, log_scale = params["mean"], params["log_scale"]
    return 0.5 * jnp.square(mean - 1) + jnp.exp(log_scale) - log_scale


def sine_integrand(params: Params, x: jax.Array) -> jax.Array:  # noqa: ARG001 (an integrand's signature)
    """x sin x, whose expectation is part of the objective.

    Returns:
        The values of the integrand, with the shape of x.
    """
    return x * jnp.sin(x)


def sine_log_prob(params: Params, x: jax.Array) -> jax.Array:
    """log N(x; μ, σ²), elementwise, in nats.

    Returns:
        The log-density, with the shape of x.
    """
    standardized = (x - params["mean"]) * jnp.exp(-params["log_scale"])
    return -0.5 * jnp.square(standardized) - params["log_scale"] - LOG_TWO_PI / 2


def sine_sample(params: Params, key: jax.Array, shape: Shape) -> jax.Array:
    """Draw x = μ + σ ε, a differentiable function of the parameters.

    Returns:
        Draws of the given shape.
    """
    return params["mean"] + jnp.exp(params["log_scale"]) * jax.random.normal(
        key, batch_shape_of(shape), params["mean"].dtype
    )


def sine_descent(
    estimate_gradient: Callable[[Params, jax.Array], Params], key: jax.Array, num_steps: int = 30_000
) -> Params:
    """Stochastic gradient descent from (0, 0) with steps of size 1.5 / (k + 100), all in one scan.

    `estimate_gradient(params, key)` estimates ∇E[X sin X]; the exact gradient of the penalty is added to it, as in the
    course. Step sizes that decrease as c/k converge to the optimum if c exceeds the inverse of twice the smallest
    curvature there (0.864), with an error of order 1/√(num_steps · draws per step).

    Returns:
        The final parameters.
    """

    def step(params: Params, draw: tuple[jax.Array, jax.Array]) -> tuple[Params, None]:
        step_key, size = draw
        sampled, exact = estimate_gradient(params, step_key), jax.grad(sine_penalty)(params)
        return jax.tree.map(lambda value, a, b: value - size * (a + b), params, sampled, exact), None

    start = {"mean": jnp.zeros(()), "log_scale": jnp.zeros(())}
    sizes = 1.5 / (100 + jnp.arange(num_steps, dtype=start["mean"].dtype))
    return jax.lax.scan(step, start, (jax.random.split(key, num_steps), sizes))[0]
