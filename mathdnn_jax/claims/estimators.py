"""Claims about two estimators of ∇E_q[h], for an h whose expectation is known, and about its optimum: P5."""

from __future__ import annotations

import functools
from collections.abc import Callable

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np

from mathdnn_jax.claims.chance import Effect, check_unbiased
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

NODES, MASSES = normal_rule(64)

means, log_scales = st.floats(-2, 2), st.floats(-2, 0.7)


def params_of(mean: float, log_scale: float) -> Params:
    """The parameters of N(mean, exp(2 log_scale)), in float64."""
    return {"mean": jnp.asarray(mean, jnp.float64), "log_scale": jnp.asarray(log_scale, jnp.float64)}


def _expectation(params: Params) -> jax.Array:
    return sine_objective(params) - sine_penalty(params)


expectation_and_gradient = jax.jit(jax.value_and_grad(_expectation))
_objective = jax.jit(jax.value_and_grad(sine_objective))
_slope = jax.grad(sine_objective)


@functools.cache
def newton(field: Callable[[Params], Params]) -> Callable[[Params], Params]:
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
    scale = np.exp(log_scale)
    x = mean + scale * NODES
    integral = MASSES @ (x * np.sin(x))
    formula = np.exp(-(scale**2) / 2) * (mean * np.sin(mean) + scale**2 * np.cos(mean))
    check_equal("the formula against the integral", formula, integral, 1e-11)
    check_equal("E[X sin X] of the library", expectation_and_gradient(params_of(mean, log_scale))[0], integral, 1e-11)
    whole = formula + 0.5 * (mean - 1) ** 2 + scale - log_scale
    check_equal("the objective", _objective(params_of(mean, log_scale))[0], whole, 1e-11)


@claim(
    "P5.optimum",
    "descent on E[X sin X] + ½(μ−1)² + σ − log σ from μ = 0, σ = 1 ends in a local minimum at μ = 0.44229749, "
    "σ = 0.60649503, with the value 1.69616824",
    source="course 003, P6",
)
def sine_optimum() -> None:
    """Descend along the exact gradient, then find the stationary point by Newton's method."""
    found = newton(_slope)(_descend(params_of(0.0, 0.0)))
    value, gradient = _objective(found)
    for name in gradient:
        check_equal(f"∂/∂{name}", gradient[name], 0.0, 64 * EPS)
    # One unit of the last digit: to nine digits, σ is 0.606495025.
    for name, place in (("mean", found["mean"]), ("scale", np.exp(found["log_scale"])), ("value", value)):
        check_equal(name, place, SINE_OPTIMUM[name], 1e-8)
    check_stable(_slope, found)


@claim(
    "P5.least_value",
    "E[X sin X] + ½(μ−1)² + σ − log σ is nowhere lower than 1.69616824",
    source="course 003, P6",
    verdict="refuted",
)
def least_value() -> None:
    """Find the other stationary point with a positive definite second derivative."""
    found = newton(_slope)(params_of(1.4, 0.65))
    value = float(_objective(found)[0])
    if value < SINE_OPTIMUM["value"] - 0.01:
        raise AssertionError(
            f"it is {value:.8f} at μ = {float(found['mean']):.8f}, σ = {float(jnp.exp(found['log_scale'])):.8f}; the "
            "minimum that descent from μ = 0, σ = 1 reaches is only a local one"
        )


LEAST = {"mean": 1.36669930, "scale": 1.96219823, "value": 1.66440076}


@claim(
    "P5.least",
    "the least value of E[X sin X] + ½(μ−1)² + σ − log σ is 1.66440076, at μ = 1.36669930, σ = 1.96219823",
    source="course 003, P6",
)
def least_point() -> None:
    """Find it by Newton's method, and compare with the values on a fine grid of a rectangle outside which all exceed 2.

    E[X sin X] ≥ −|μ| − σ² e^(−σ²/2) ≥ −|μ| − 2/e and σ − log σ ≥ 1. So the value is at least ½ (μ−1)² − |μ| + 0.26,
    which is above 2 for μ < −2 and for μ > 5; and at least σ − log σ − 2.24, above 2 for log σ < −4.5 and log σ > 2.
    """
    found = newton(_slope)(params_of(LEAST["mean"], float(np.log(LEAST["scale"]))))
    value, gradient = _objective(found)
    for name in gradient:
        check_equal(f"∂/∂{name}", gradient[name], 0.0, 64 * EPS)
    for name, place in (("mean", found["mean"]), ("scale", np.exp(found["log_scale"])), ("value", value)):
        check_equal(name, place, LEAST[name], 1e-8)
    check_stable(_slope, found)
    mean, log_scale = np.meshgrid(np.linspace(-2, 5, 701), np.linspace(-4.5, 2, 651))
    others = np.asarray(sine_objective({"mean": jnp.asarray(mean), "log_scale": jnp.asarray(log_scale)}))
    if not (others >= float(value) - 1e-12).all():
        raise AssertionError(f"it is {others.min():.12g} somewhere, below {float(value):.12g}")


def check_stable(field: Callable[[Params], Params], point: Params) -> None:
    """Check that descent along the field settles at this root of it."""
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


def _score_function(params: Params, key: jax.Array) -> GradientEstimate:
    return score_function_gradient(sine_integrand, sine_log_prob, sine_sample, params, key, DRAWS)


def _with_baseline(params: Params, key: jax.Array) -> GradientEstimate:
    return score_function_gradient(
        sine_integrand, sine_log_prob, sine_sample, params, key, DRAWS, baseline="leave_one_out"
    )


def _reparameterized(params: Params, key: jax.Array) -> GradientEstimate:
    return reparameterized_gradient(sine_integrand, sine_sample, params, key, DRAWS)


_compiled = functools.cache(lambda estimator: jax.jit(jax.vmap(estimator)))
_at_points = jax.jit(jax.vmap(expectation_and_gradient))


def _check_estimator(estimator: Callable[[Params, jax.Array], GradientEstimate], seed: int) -> list[Effect]:
    mean, log_scale = zip(*POINTS, strict=True)
    points = {"mean": jnp.asarray(mean), "log_scale": jnp.asarray(log_scale)}
    estimate = _compiled(estimator)(points, jax.random.split(jax.random.key(seed), len(POINTS)))
    value, gradient = _at_points(points)
    effects = [check_unbiased("E[X sin X]", estimate.value, estimate.value_standard_error, value)]
    for part in gradient:
        given = estimate.gradient[part], estimate.standard_error[part], gradient[part]
        effects.append(check_unbiased(f"∂/∂{part}", *given))
    return effects


@claim(
    "P5.score_function",
    "E[(X sin X − b) · ∇ log q(X)] = ∇E[X sin X], with b = 0 or the mean of X sin X over the other draws",
    source="course 003, P6(a)",
    sampled=True,
)
def score_function_is_unbiased(seed: int) -> list[Effect]:
    """Integrate the formula by quadrature; take 100,000 draws at three points, with a baseline and without it.

    These are 18 statistics.
    """
    for point in POINTS:
        params = params_of(*point)
        x = point[0] + np.exp(point[1]) * NODES
        h, standard = x * np.sin(x) - 0.7, NODES
        # ∂/∂μ and ∂/∂τ of log q = −½ (x − μ)²/σ² − τ, σ = e^τ.
        formula = {"mean": h * standard / np.exp(point[1]), "log_scale": h * (standard**2 - 1)}
        for name, slope in expectation_and_gradient(params)[1].items():
            check_equal(f"the formula's integral, ∂/∂{name}", MASSES @ formula[name], slope, 1e-10)
    plain, other = (_check_estimator(kind, seed) for kind in (_score_function, _with_baseline))
    return plain + [effect._replace(what=f"{effect.what}, baseline") for effect in other]


@claim(
    "P5.reparameterized",
    "E[∇_φ h(μ + σ ε)] = ∇E[X sin X], h(x) = x sin x, that is E[h′(X)] = ∂/∂μ and E[h′(X) σ ε] = ∂/∂τ, σ = e^τ",
    source="course 003, P6(b)",
    sampled=True,
)
def reparameterized_is_unbiased(seed: int) -> list[Effect]:
    """Integrate the formula by quadrature, and take 100,000 draws at each of three points: 9 statistics."""
    for mean, log_scale in POINTS:
        x = mean + np.exp(log_scale) * NODES
        slopes = np.sin(x) + x * np.cos(x)
        formula = {"mean": slopes, "log_scale": slopes * np.exp(log_scale) * NODES}
        for name, slope in expectation_and_gradient(params_of(mean, log_scale))[1].items():
            check_equal(f"the formula's integral, ∂/∂{name}", MASSES @ formula[name], slope, 1e-10)
    return _check_estimator(_reparameterized, seed)
