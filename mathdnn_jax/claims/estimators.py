"""Claims about two estimators of ∇E_q[h], for an h whose expectation is known: P5, E1."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np

from mathdnn_jax.claims.chance import check_unbiased, mean_and_error
from mathdnn_jax.claims.claim import claim
from mathdnn_jax.claims.evidence import EPS, check_equal
from mathdnn_jax.claims.quadrature import normal_rule
from mathdnn_jax.probability import (
    SINE_OPTIMUM,
    GradientEstimate,
    reparameterized_gradient,
    score_function_gradient,
    sine_integrand,
    sine_log_prob,
    sine_objective,
    sine_sample,
)
from mathdnn_jax.probability.sine_problem import sine_penalty

Params = dict[str, jax.Array]

DRAWS = 100_000
POINTS = ((0.0, 0.0), (SINE_OPTIMUM["mean"], float(np.log(SINE_OPTIMUM["scale"]))), (1.5, -0.7))
"""(μ, log σ) where the descent starts, where it ends, and elsewhere."""

MISTAKEN_ROOT = (0.528, 0.790)
NODES, MASSES = normal_rule(64)

means, log_scales = st.floats(-2, 2), st.floats(-2, 0.7)


def _params(mean: float, log_scale: float) -> Params:
    return {"mean": jnp.asarray(mean, jnp.float64), "log_scale": jnp.asarray(log_scale, jnp.float64)}


def _expectation(params: Params) -> jax.Array:
    return sine_objective(params) - sine_penalty(params)


_expectation_and_gradient = jax.jit(jax.value_and_grad(_expectation))
_objective = jax.jit(jax.value_and_grad(sine_objective))
_slope = jax.grad(sine_objective)


def _mistaken(params: Params, x: jax.Array) -> Params:
    """The course's estimate of the gradient at draws x, with (X − μ)²/σ instead of (X − μ)²/σ² (erratum E1)."""
    scale, deviation = jnp.exp(params["log_scale"]), x - params["mean"]
    h = sine_integrand(params, x)
    return {"mean": h * deviation / jnp.square(scale), "log_scale": h * (jnp.square(deviation) / scale - 1)}


@jax.jit
def _mistaken_expectation(params: Params) -> Params:
    """The mistaken estimate's expectation: since E[h (X−μ)²] = σ² (∂E/∂τ + E), its τ-part is σ (∂E/∂τ + E) − E."""
    value, gradient = jax.value_and_grad(_expectation)(params)
    scale = jnp.exp(params["log_scale"])
    return {"mean": gradient["mean"], "log_scale": scale * (gradient["log_scale"] + value) - value}


@jax.jit
def _mistaken_field(params: Params) -> Params:
    field: Params = jax.tree.map(jnp.add, _mistaken_expectation(params), jax.grad(sine_penalty)(params))
    return field


@functools.cache
def _newton(field: Callable[[Params], Params]) -> Callable[[Params], Params]:
    """Twenty steps of Newton's method towards a root of the field."""

    def step(_: int, point: jax.Array) -> jax.Array:
        change: jax.Array = jnp.linalg.solve(jax.jacfwd(flat)(point), flat(point))
        return point - change

    def flat(point: jax.Array) -> jax.Array:
        found = field({"mean": point[0], "log_scale": point[1]})
        return jnp.stack([found["mean"], found["log_scale"]])

    @jax.jit
    def run(params: Params) -> Params:
        point = jax.lax.fori_loop(0, 20, step, jnp.stack([params["mean"], params["log_scale"]]))
        return {"mean": point[0], "log_scale": point[1]}

    return run


@claim(
    "P5.closed_form",
    "E[X sin X] = e^(−σ²/2) (μ sin μ + σ² cos μ) for X ~ N(μ, σ²)",
    source="course 003, P6",
    mean=means,
    log_scale=log_scales,
)
def sine_expectation(mean: float, log_scale: float) -> None:
    """Integrate by Gauss–Hermite quadrature, whose error is below 1e-12 for σ ≤ 2.1."""
    x = mean + np.exp(log_scale) * NODES
    check_equal("E[X sin X]", _expectation_and_gradient(_params(mean, log_scale))[0], MASSES @ (x * np.sin(x)), 1e-11)


@claim(
    "P5.optimum",
    "descent on E[X sin X] + ½(μ−1)² + σ − log σ from μ = 0, σ = 1 ends in a local minimum at μ = 0.44229749, "
    "σ = 0.60649503, with the value 1.69616824",
    source="course 003, P6",
)
def sine_optimum() -> None:
    """Descend along the exact gradient, then find the stationary point by Newton's method."""
    found = _newton(_slope)(_descend(_params(0.0, 0.0)))
    value, gradient = _objective(found)
    for name in gradient:
        check_equal(f"∂/∂{name}", gradient[name], 0.0, 64 * EPS)
    # One unit of the last digit: to nine digits, σ is 0.606495025.
    for name, place in (("mean", found["mean"]), ("scale", np.exp(found["log_scale"])), ("value", value)):
        check_equal(name, place, SINE_OPTIMUM[name], 1e-8)
    _check_stable(_slope, found)


@claim(
    "P5.least_value",
    "E[X sin X] + ½(μ−1)² + σ − log σ is nowhere lower than 1.69616824",
    source="course 003, P6",
    verdict="refuted",
)
def least_value() -> None:
    """Find the other stationary point with a positive definite second derivative."""
    found = _newton(_slope)(_params(1.4, 0.65))
    value = float(_objective(found)[0])
    if value < SINE_OPTIMUM["value"] - 0.01:
        raise AssertionError(
            f"it is {value:.8f} at μ = {float(found['mean']):.8f}, σ = {float(jnp.exp(found['log_scale'])):.8f}; the "
            "minimum that descent from μ = 0, σ = 1 reaches is only a local one"
        )


def _check_stable(field: Callable[[Params], Params], point: Params) -> None:
    slope = jax.jit(jax.jacfwd(field))(point)
    matrix = np.array([[slope[i][j] for j in ("mean", "log_scale")] for i in ("mean", "log_scale")])
    if not np.linalg.eigvals(matrix).real.min() > 0:
        raise AssertionError(f"descent does not settle there; the field's derivative is {matrix.tolist()}")


@jax.jit
def _descend(params: Params) -> Params:
    def step(_: int, params: Params) -> Params:
        moved: Params = jax.tree.map(lambda value, slope: value - 0.1 * slope, params, _slope(params))
        return moved

    end: Params = jax.lax.fori_loop(0, 500, step, params)
    return end


def _score_function(params: Params, key: jax.Array, **settings: Any) -> GradientEstimate:
    return score_function_gradient(sine_integrand, sine_log_prob, sine_sample, params, key, DRAWS, **settings)


def _reparameterized(params: Params, key: jax.Array) -> GradientEstimate:
    return reparameterized_gradient(sine_integrand, sine_sample, params, key, DRAWS)


def _check_estimator(estimator: Callable[[Params, jax.Array], GradientEstimate]) -> None:
    mean, log_scale = zip(*POINTS, strict=True)
    points = {"mean": jnp.asarray(mean), "log_scale": jnp.asarray(log_scale)}
    estimate = jax.jit(jax.vmap(estimator))(points, jax.random.split(jax.random.key(1), len(POINTS)))
    value, gradient = jax.jit(jax.vmap(_expectation_and_gradient))(points)
    check_unbiased("E[X sin X]", estimate.value, estimate.value_standard_error, value)
    for part in gradient:
        check_unbiased(f"∂/∂{part}", estimate.gradient[part], estimate.standard_error[part], gradient[part])


@claim(
    "P5.score_function",
    "E[(X sin X − b) · ∇ log q(X)] = ∇E[X sin X], with b = 0 or the mean of X sin X over the other draws",
    source="course 003, P6(a)",
)
def score_function_is_unbiased() -> None:
    """Take 100,000 draws at each of three points, with and without a baseline: 18 statistics."""
    _check_estimator(_score_function)
    _check_estimator(functools.partial(_score_function, baseline="leave_one_out"))


@claim("P5.reparameterized", "E[∇_φ h(μ + σ ε)] = ∇E[X sin X], h(x) = x sin x", source="course 003, P6(b)")
def reparameterized_is_unbiased() -> None:
    """Take 100,000 draws at each of three points: 9 statistics."""
    _check_estimator(_reparameterized)


@claim(
    "P5.course_formula",
    "with (X−μ)²/σ in place of (X−μ)²/σ², the expected step vanishes near μ = 0.528, σ = 0.790, where descent settles",
    source="course 003, P6(a); erratum E1",
)
def mistaken_root() -> None:
    """Find the root of the expected step, and check that descent is stable there."""
    found = _newton(_mistaken_field)(_params(MISTAKEN_ROOT[0], float(np.log(MISTAKEN_ROOT[1]))))
    check_equal("μ", found["mean"], MISTAKEN_ROOT[0], 1e-3)
    check_equal("σ", jnp.exp(found["log_scale"]), MISTAKEN_ROOT[1], 1e-3)
    _check_stable(_mistaken_field, found)


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
    params = _params(mean, log_scale)
    found = float(MASSES @ _mistaken(params, params["mean"] + jnp.exp(params["log_scale"]) * NODES)["log_scale"])
    expected = float(_expectation_and_gradient(params)[1]["log_scale"])
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
)
def mistaken_draws() -> None:
    """Compare both parts with the gradient at the optimum."""
    params = _params(*POINTS[1])
    draws = _mistaken(params, sine_sample(params, jax.random.key(2), (DRAWS,)))
    expected = _expectation_and_gradient(params)[1]
    for name in expected:
        check_unbiased(f"∂/∂{name}", *mean_and_error(draws[name]), expected[name])
