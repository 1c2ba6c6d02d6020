from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mathdnn_jax import nice
from mathdnn_jax.errors import ConfigurationError, NonFiniteError
from mathdnn_jax.probability import (
    GradientEstimate,
    diagonal_gaussian_log_prob,
    diagonal_gaussian_sample,
    reparameterized_gradient,
    score_function_gradient,
    score_function_surrogate,
    sine_integrand,
    sine_log_prob,
    sine_objective,
    sine_penalty,
    sine_sample,
)

from ...drawn import drawn

Params = dict[str, jax.Array]


def mirrored(params: Params, x: jax.Array) -> jax.Array:
    return 2 * params["mean"] - x


def whole_objective(params: Params, x: jax.Array) -> jax.Array:
    """The integrand including the penalty, which depends on the parameters."""
    return sine_integrand(params, x) + sine_penalty(params)


KINDS: dict[str, Callable[..., GradientEstimate]] = {
    "score": functools.partial(score_function_gradient, whole_objective, sine_log_prob, sine_sample),
    "score, baseline": functools.partial(
        score_function_gradient, whole_objective, sine_log_prob, sine_sample, baseline="leave_one_out"
    ),
    "score, antithetic": functools.partial(
        score_function_gradient, whole_objective, sine_log_prob, sine_sample, antithetic=mirrored
    ),
    "score, both": functools.partial(
        score_function_gradient,
        whole_objective,
        sine_log_prob,
        sine_sample,
        antithetic=mirrored,
        baseline="leave_one_out",
    ),
    "reparameterized": functools.partial(reparameterized_gradient, whole_objective, sine_sample),
    "reparameterized, antithetic": functools.partial(
        reparameterized_gradient, whole_objective, sine_sample, antithetic=mirrored
    ),
}
POINTS = [(0.2, 0.0), (0.44, -0.5), (1.5, 0.3), (-2.0, -1.0)]


@functools.cache
def compiled(kind: str, num_samples: int, chunk_size: int | None = None) -> Callable[..., GradientEstimate]:
    return jax.jit(lambda params, key: KINDS[kind](params, key, num_samples, chunk_size=chunk_size))


objective = jax.jit(jax.value_and_grad(sine_objective))


def on_host(tree: Any) -> Any:
    return jax.tree.map(np.asarray, tree)


def parameters(mean: float, log_scale: float) -> Params:
    return {"mean": jnp.asarray(mean), "log_scale": jnp.asarray(log_scale)}


@pytest.mark.parametrize("count", [2, 3])
def test_of_few_draws_each_has_the_mean_of_the_others_for_its_baseline(count: int) -> None:
    with jax.enable_x64(True):
        params, key = {"mean": jnp.asarray(0.4), "log_scale": jnp.asarray(-0.3)}, jax.random.key(5)
        estimate = on_host(compiled("score, baseline", count)(params, key))
        draws = jax.random.split(key, count)
        x = on_host(jax.jit(jax.vmap(lambda key: sine_sample(params, key, ())))(draws))
        score = on_host(jax.jit(jax.vmap(jax.grad(sine_log_prob), (None, 0)))(params, x))
        value, own = on_host(jax.jit(jax.vmap(jax.value_and_grad(whole_objective), (None, 0)))(params, x))
    baseline = (value.sum() - value) / (count - 1)
    for name, gradient in estimate.gradient.items():
        np.testing.assert_allclose(gradient, ((value - baseline) * score[name] + own[name]).mean(), rtol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_the_estimate_is_unbiased(kind: str) -> None:
    # Twelve t-statistics of 100,000 draws (or half as many pairs) for each of six kinds: 72 in all, each beyond 5.7
    # with probability 1.2e-8, so that a correct estimator fails here with probability 1e-6.
    for number, point in enumerate(POINTS):
        with jax.enable_x64(True):
            params = parameters(*point)
            expected, gradient = on_host(objective(params))
            estimate = on_host(compiled(kind, 100_000)(params, jax.random.key(number)))
        for name in params:
            t = (estimate.gradient[name] - gradient[name]) / estimate.standard_error[name]
            assert abs(float(t)) < 5.7, (kind, point, name)
            # So narrow that a term left out would be seen.
            assert float(estimate.standard_error[name]) < 0.08
        assert abs(float((estimate.value - expected) / estimate.value_standard_error)) < 5.7
        assert float(estimate.value_standard_error) < 0.01


@pytest.mark.parametrize("kind", KINDS)
def test_the_standard_error_is_the_spread_of_repeated_estimates(kind: str) -> None:
    # 400 estimates: their sample variance has relative standard deviation of about √(2/400) = 7 %, so 1 ± 0.45 is
    # beyond 6 of them.
    with jax.enable_x64(True):
        params = parameters(0.44, -0.5)
        keys = jax.random.split(jax.random.key(9), 400)
        estimates = on_host(jax.jit(jax.vmap(lambda key: compiled(kind, 200)(params, key)))(keys))
    for name in params:
        claimed = np.square(estimates.standard_error[name]).mean()
        assert 0.55 < estimates.gradient[name].var(ddof=1) / claimed < 1.45, (kind, name)
    claimed = np.square(estimates.value_standard_error).mean()
    assert 0.55 < estimates.value.var(ddof=1) / claimed < 1.45


@pytest.mark.parametrize("kind", ["score, both", "reparameterized"])
def test_chunks_change_nothing_but_memory(kind: str) -> None:
    with jax.enable_x64(True):
        params = parameters(0.3, 0.1)
        whole = compiled(kind, 600)(params, jax.random.key(0))
        parts = compiled(kind, 600, 50)(params, jax.random.key(0))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12), whole, parts)


def test_many_draws_in_float32() -> None:
    # The square of their number is no 32-bit integer. Two t-statistics, 2.4e-8 in all.
    params = parameters(0.3, 0.1)
    _, gradient = on_host(objective(params))
    estimate = on_host(compiled("reparameterized", 100_000, 1000)(params, jax.random.key(4)))
    for name in params:
        assert estimate.gradient[name].dtype == estimate.standard_error[name].dtype == jnp.float32
        assert abs(float((estimate.gradient[name] - gradient[name]) / estimate.standard_error[name])) < 5.7
        assert 1e-4 < float(estimate.standard_error[name]) < 0.01


def test_the_estimators_differ_in_variance_as_they_should() -> None:
    with jax.enable_x64(True):
        params = parameters(0.44229749, -0.5)
        error = {kind: on_host(compiled(kind, 100_000)(params, jax.random.key(1)).standard_error) for kind in KINDS}
    for name in params:
        assert error["score"][name] > 1.5 * error["score, baseline"][name]
        assert error["score, baseline"][name] > 1.05 * error["reparameterized"][name]


def test_the_gradient_of_an_expected_log_ratio() -> None:
    # KL's negative: E_q[log(g/q)] for Gaussians, whose gradient is known. With the parameters' own gradient stopped,
    # h is the course's form, which has the same expectation. Sixteen t-statistics: 2e-7 in all.
    def log_q(params: Params, x: jax.Array) -> jax.Array:
        return diagonal_gaussian_log_prob(x, params["mean"], params["log_scale"])

    def draw(params: Params, key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
        return diagonal_gaussian_sample(key, params["mean"], params["log_scale"], shape)

    def log_ratio(params: Params, x: jax.Array) -> jax.Array:
        return diagonal_gaussian_log_prob(x, jnp.ones(2), jnp.full(2, 0.5)) - log_q(params, x)

    def stopped(params: Params, x: jax.Array) -> jax.Array:
        return log_ratio(jax.lax.stop_gradient(params), x)

    with jax.enable_x64(True):
        params = {"mean": jnp.asarray([0.3, -1.0]), "log_scale": jnp.asarray([-0.4, 0.2])}
        shift = np.asarray(params["mean"]) - 1
        expected = {
            "mean": -shift * np.exp(-1.0),
            "log_scale": 1 - np.exp(2 * np.asarray(params["log_scale"]) - 1.0),
        }
        for h in (log_ratio, stopped):
            for baseline in ("none", "leave_one_out"):
                estimator = functools.partial(score_function_gradient, h, log_q, draw, baseline=baseline)
                estimate = on_host(jax.jit(estimator, static_argnums=2)(params, jax.random.key(5), 50_000))
                for name in expected:
                    t = (estimate.gradient[name] - expected[name]) / estimate.standard_error[name]
                    assert np.abs(t).max() < 5.7, (h, baseline, name)


def test_a_discrete_law_and_a_tree_of_parameters() -> None:
    # E[h(X)] = Σ_k softmax(ℓ)_k v_k with values v that are parameters too: both halves of the gradient are known.
    def draw(params: Params, key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
        return jax.random.categorical(key, params["logits"], shape=shape)

    def expected(params: Params) -> jax.Array:
        return jax.nn.softmax(params["logits"]) @ params["values"]

    with jax.enable_x64(True):
        params = {"logits": jnp.asarray([0.1, -0.7, 1.2]), "values": jnp.asarray([3.0, -1.0, 0.5])}
        estimator = functools.partial(
            score_function_gradient, lambda p, k: p["values"][k], lambda p, k: jax.nn.log_softmax(p["logits"])[k], draw
        )
        estimate = on_host(jax.jit(estimator, static_argnums=2)(params, jax.random.key(2), 50_000))
        gradient = on_host(jax.jit(jax.grad(expected))(params))
    for name in params:
        # Six t-statistics, 7e-8 in all.
        t = (estimate.gradient[name] - gradient[name]) / estimate.standard_error[name]
        assert np.abs(t).max() < 5.7


def test_a_flow_serves_as_it_is() -> None:
    # E_q[log q − log p] for a flow that is p itself: both gradients are zero, the reparameterized one to within
    # its standard error, and every leaf has a gradient.
    model = nice(dim=4, width=3, depth=1, couplings=2)
    params = drawn(model.init)

    def h(p: Any, x: jax.Array) -> jax.Array:
        return model.log_prob(p, x) - model.log_prob(params, x)

    for estimator in (
        functools.partial(reparameterized_gradient, h, model.sample),
        functools.partial(score_function_gradient, h, model.log_prob, model.sample),
    ):
        estimate = on_host(jax.jit(estimator, static_argnums=2)(params, jax.random.key(1), 64))
        chex.assert_trees_all_equal_shapes_and_dtypes(estimate.gradient, params)
        assert float(estimate.value) == pytest.approx(0, abs=1e-5)
        for leaf, error in zip(
            jax.tree.leaves(estimate.gradient), jax.tree.leaves(estimate.standard_error), strict=True
        ):
            assert leaf.dtype == jnp.float32
            assert (np.abs(leaf) <= 8 * error + 1e-5).all()


def test_the_surrogate_has_the_value_of_h() -> None:
    def surrogate(phi: jax.Array) -> jax.Array:
        return score_function_surrogate(3.0 + phi, 2.0 * phi, 1.0)

    value, gradient = jax.value_and_grad(surrogate)(jnp.asarray(0.5))
    assert float(value) == 3.5
    assert float(gradient) == 1 + 2.5 * 2


def test_mistakes_are_refused() -> None:
    params, key = parameters(0.0, 0.0), jax.random.key(0)
    with pytest.raises(ConfigurationError, match="at least two draws; num_samples is 1"):
        KINDS["reparameterized"](params, key, 1)
    with pytest.raises(ConfigurationError, match="at least two pairs; num_samples is 2"):
        KINDS["score, antithetic"](params, key, 2)
    with pytest.raises(ConfigurationError, match="must be even, given 7"):
        KINDS["score, antithetic"](params, key, 7)
    with pytest.raises(ConfigurationError, match="must divide the 10 draws, given 3"):
        KINDS["score"](params, key, 10, chunk_size=3)
    with pytest.raises(ConfigurationError, match="must divide the 5 pairs, given 0"):
        KINDS["score, antithetic"](params, key, 10, chunk_size=0)
    with pytest.raises(ConfigurationError, match="given 'best'"):
        KINDS["score"](params, key, 10, baseline="best")
    with pytest.raises(NonFiniteError, match=r"estimate\.gradient\['log_scale'\] is not finite"):
        reparameterized_gradient(lambda p, x: jnp.sqrt(p["log_scale"]) * x, sine_sample, params, key, 10)


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("baseline", ["none", "leave_one_out"])
def test_a_few_draws_by_the_formula(count: int, baseline: str) -> None:
    """For so few draws, N, N − 1 and the other draws differ most: g_i = (h_i − b_i) (x_i − m), N(m, 1), h(x) = x³."""
    key, mean = jax.random.key(5), 0.7
    with jax.enable_x64(True):
        found = on_host(
            score_function_gradient(
                lambda _, x: x**3,
                lambda m, x: -0.5 * jnp.square(x - m),
                lambda m, key, shape: m + jax.random.normal(key, shape, float),
                jnp.asarray(mean),
                key,
                count,
                baseline=baseline,  # type: ignore[arg-type]
            )
        )
        x = mean + np.array([float(jax.random.normal(part, (), float)) for part in jax.random.split(key, count)])
    h = x**3
    others = np.array([np.delete(h, i).mean() for i in range(count)])
    gradients = (h - (others if baseline == "leave_one_out" else 0)) * (x - mean)
    for value, terms in ((found[:2], gradients), (found[2:], h)):
        np.testing.assert_allclose(value[0], terms.mean(), rtol=1e-12)
        np.testing.assert_allclose(value[1], terms.std(ddof=1) / np.sqrt(count), rtol=1e-12)
