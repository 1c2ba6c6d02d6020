"""Claims about mistaken gradients of P5, and about the course's own runs with them: P5, E1, E10, E11."""

from __future__ import annotations

from collections.abc import Callable

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np

from mathdnn_jax.claims.chance import check_unbiased, mean_and_error
from mathdnn_jax.claims.claim import claim
from mathdnn_jax.claims.estimators import (
    DRAWS,
    MASSES,
    NODES,
    POINTS,
    Params,
    check_stable,
    expectation_and_gradient,
    newton,
    params_of,
)
from mathdnn_jax.claims.evidence import check_equal
from mathdnn_jax.probability import SINE_OPTIMUM, sine_integrand, sine_penalty, sine_sample

means, log_scales = st.floats(-2, 2), st.floats(-2, 0.7)
ROOT_OF_E1, ROOT_OF_E10 = (0.528, 0.790), (0.38543, 0.41251)


def _mistaken(params: Params, x: jax.Array) -> Params:
    """The course's estimate of the gradient at draws x, with (X − μ)²/σ instead of (X − μ)²/σ² (erratum E1)."""
    scale, deviation = jnp.exp(params["log_scale"]), x - params["mean"]
    h = sine_integrand(params, x)
    return {"mean": h * deviation / jnp.square(scale), "log_scale": h * (jnp.square(deviation) / scale - 1)}


@jax.jit
def _mistaken_expectation(params: Params) -> Params:
    """The mistaken estimate's expectation: since E[h (X−μ)²] = σ² (∂E/∂τ + E), its τ-part is σ (∂E/∂τ + E) − E."""
    value, gradient = expectation_and_gradient(params)
    scale = jnp.exp(params["log_scale"])
    return {"mean": gradient["mean"], "log_scale": scale * (gradient["log_scale"] + value) - value}


@jax.jit
def _mistaken_field(params: Params) -> Params:
    field: Params = jax.tree.map(jnp.add, _mistaken_expectation(params), jax.grad(sine_penalty)(params))
    return field


def _without_scale(params: Params) -> Params:
    """The expected step if the factor σ of the reparameterised τ-part is missing (erratum E10)."""
    _, gradient = expectation_and_gradient(params)
    mistaken = {**gradient, "log_scale": gradient["log_scale"] * jnp.exp(-params["log_scale"])}
    field: Params = jax.tree.map(jnp.add, mistaken, jax.grad(sine_penalty)(params))
    return field


def _check_root(field: Callable[[Params], Params], root: tuple[float, float], tolerance: float) -> None:
    found = newton(field)(params_of(root[0], float(np.log(root[1]))))
    check_equal("μ", found["mean"], root[0], tolerance)
    check_equal("σ", jnp.exp(found["log_scale"]), root[1], tolerance)
    check_stable(field, found)


@claim(
    "P5.course_formula",
    "with (X−μ)²/σ in place of (X−μ)²/σ², the expected step vanishes near μ = 0.528, σ = 0.790, where descent settles",
    source="course 003, P6(a); erratum E1",
)
def mistaken_root() -> None:
    """Find the root of the expected step, and check that descent is stable there."""
    _check_root(_mistaken_field, ROOT_OF_E1, 1e-3)


@claim(
    "E1.expectation",
    "the course's τ-part, X sin X · ((X−μ)²/σ − 1), has the mean ∂/∂τ E[X sin X]",
    source="course 003, P6(a); erratum E1",
    verdict="refuted",
    mean=means,
    log_scale=log_scales,
)
def mistaken_expectation(mean: float, log_scale: float) -> None:
    """Integrate by quadrature: the mean is right only if σ = 1 or E[h (X−μ)²] = 0."""
    params = params_of(mean, log_scale)
    found = float(MASSES @ _mistaken(params, params["mean"] + jnp.exp(params["log_scale"]) * NODES)["log_scale"])
    expected = float(expectation_and_gradient(params)[1]["log_scale"])
    closed = float(_mistaken_expectation(params)["log_scale"])
    if abs(found - expected) > 1e-6 and abs(found - closed) < 1e-10:
        raise AssertionError(
            f"for σ = {np.exp(log_scale):.6g} its mean is {found:.9g} (σ (∂E/∂τ + E) − E = {closed:.9g}), but the "
            f"derivative is {expected:.9g}"
        )


@claim(
    "E1.draws",
    "the course's τ-part is unbiased at the optimum, as 100,000 draws show",
    source="course 003, P6(a); erratum E1",
    verdict="refuted",
    sampled=True,
)
def mistaken_draws(seed: int) -> None:
    """Compare both parts with the gradient at the optimum."""
    params = params_of(*POINTS[1])
    draws = _mistaken(params, sine_sample(params, jax.random.key(seed), (DRAWS,)))
    expected = expectation_and_gradient(params)[1]
    for name in expected:
        check_unbiased(f"∂/∂{name}", *mean_and_error(draws[name]), expected[name])


@claim(
    "P5.course_reparameterized",
    "with (sin X + X cos X) Y for the τ-part, whose factor σ is missing, the expected step vanishes near μ = 0.38543, "
    "σ = 0.41251, where descent settles",
    source="course 003, P6(b); erratum E10",
)
def root_without_scale() -> None:
    """Find the root of the expected step, and check that descent is stable there."""
    _check_root(_without_scale, ROOT_OF_E10, 1e-5)


@claim(
    "E10.expectation",
    "the course's τ-part, (sin X + X cos X) Y with X = μ + σ Y, has the mean ∂/∂τ E[X sin X], σ = e^τ",
    source="course 003, P6(b); erratum E10",
    verdict="refuted",
    mean=means,
    log_scale=log_scales,
)
def expectation_without_scale(mean: float, log_scale: float) -> None:
    """Integrate by quadrature: the mean is the derivative by σ, and right only if σ = 1 or both are 0."""
    scale = np.exp(log_scale)
    x = mean + scale * NODES
    found = float(MASSES @ ((np.sin(x) + x * np.cos(x)) * NODES))
    expected = float(expectation_and_gradient(params_of(mean, log_scale))[1]["log_scale"])
    if abs(found - expected) > 1e-6 and abs(scale * found - expected) < 1e-10:
        raise AssertionError(
            f"for μ = {mean:g}, σ = {scale:.6g} its mean is {found:.9g} = ∂E/∂σ, but ∂E/∂τ = σ ∂E/∂σ is {expected:.9g}"
        )


STEP_SIZE, BATCH = 1e-3, 16
"""Those of the course."""


def bias_of_the_order(mean: float, scale: float, step_size: float, batch: int) -> float:
    """The expectation of the τ-part that uses the new μ − η G, less that of the one that uses μ.

    With h = X sin X, d = X − μ and G = (1/B) Σ_i h_i d_i/σ² + μ − 1 it is E[h (2 η d G + η² G²)]/σ², where the
    expectation of products of sums follows from the moments of one draw.
    """
    deviation = scale * NODES
    x = mean + deviation
    h = x * np.sin(x)
    a, c = h * deviation / scale**2, mean - 1

    def mean_of(values: np.ndarray) -> float:
        return float(MASSES @ values)

    # Σ_{j ≠ i} a_j is independent of draw i.
    rest, rest_square = (
        (batch - 1) * mean_of(a),
        (batch - 1) * mean_of(a * a) + (batch - 1) * (batch - 2) * mean_of(a) ** 2,
    )
    first = (mean_of(h * deviation * a) + mean_of(h * deviation) * rest) / batch + c * mean_of(h * deviation)
    second = (mean_of(h * a * a) + 2 * mean_of(h * a) * rest + mean_of(h) * rest_square) / batch**2
    second += 2 * c * (mean_of(h * a) + mean_of(h) * rest) / batch + c * c * mean_of(h)
    return (2 * step_size * first + step_size**2 * second) / scale**2


@claim(
    "E11.order",
    "updating μ before τ, whose part then has the new μ in (X − μ)²/σ² − 1, leaves the τ-part unbiased",
    source="course 003, P6(a); erratum E11",
    verdict="refuted",
)
def order_of_updates() -> None:
    """Compute the expectation at the optimum, for the course's step size of 1e-3 and 16 draws."""
    scale = SINE_OPTIMUM["scale"]
    bias = bias_of_the_order(SINE_OPTIMUM["mean"], scale, STEP_SIZE, BATCH)
    if abs(bias) > 1e-6:
        raise AssertionError(
            f"at the optimum, for steps of {STEP_SIZE:g} and {BATCH} draws, its expectation is {bias:.3g} away from "
            "∂/∂τ E[X sin X]"
        )
