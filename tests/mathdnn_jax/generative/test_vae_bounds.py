"""V1, V2 and V4 for the linear-Gaussian model, where log p, the ELBO and its gradient have closed forms."""

from __future__ import annotations

from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given
from hypothesis import strategies as st

from .linear_gaussian import (
    DIM,
    VARIANCE,
    exact_bound,
    linear_vae,
    log_marginal,
    on_device,
    random_params,
    with_exact_posterior,
)

MODEL = linear_vae()
SEEDS = st.integers(0, 1000)
DRAWS = 5000
# 4 estimators of 36 derivatives, 3 of 20, and a dozen bounds: 216 statistics, each of which exceeds this number of
# standard errors with probability 6e-10.
MOST = 6.2


def events(seed: int, count: int = 5) -> np.ndarray:
    return 2 * np.random.default_rng(seed + 1).normal(size=(count, DIM))


@cache
def compiled(name: str, **settings: Any) -> Any:
    return jax.jit(lambda *arguments: getattr(MODEL, name)(*arguments, **settings))


@given(seed=SEEDS)
def test_the_bound_is_below_log_p_by_the_divergence_to_the_posterior(seed: int) -> None:
    with jax.enable_x64(True):
        params, x = on_device(random_params(seed)), jnp.asarray(events(seed))
        assert (exact_bound(params, x) <= log_marginal(params, x)).all()
        exact = on_device(with_exact_posterior(random_params(seed, orthogonal=True)))
        np.testing.assert_allclose(exact_bound(exact, x), log_marginal(exact, x), rtol=1e-9)


@given(seed=SEEDS)
def test_at_the_posterior_every_draw_is_log_p_itself(seed: int) -> None:
    with jax.enable_x64(True):
        params = on_device(with_exact_posterior(random_params(seed, orthogonal=True)))
        x, key = jnp.asarray(events(seed)), jax.random.key(seed)
        truth = log_marginal(params, x)
        scale = 1e-10 * np.abs(truth).max()
        np.testing.assert_allclose(compiled("elbo", kl="monte_carlo")(params, x, key), truth, rtol=0, atol=scale)
        for samples in (1, 7):
            found = compiled("log_marginal", samples=samples)(params, x, key)
            np.testing.assert_allclose(found, truth, rtol=0, atol=scale)
        # With the KL divergence in closed form, the estimate does depend on the draw.
        assert (np.abs(compiled("elbo")(params, x, key) - truth) > 1e-6).any()


@given(seed=st.integers(0, 5), kl=st.sampled_from(["analytic", "monte_carlo"]))
def test_the_mean_of_the_estimates_is_the_bound(seed: int, kl: str) -> None:
    with jax.enable_x64(True):
        params, x = on_device(random_params(seed)), jnp.asarray(events(seed, 1)[0])
        keys = jax.random.split(jax.random.key(seed), DRAWS)
        draws = _draws(kl)(params, x, keys)
        t = (draws.mean() - exact_bound(params, x)) / (draws.std(ddof=1) / np.sqrt(DRAWS))
        assert abs(t) < MOST


@cache
def _draws(kl: Any) -> Any:
    return jax.jit(jax.vmap(lambda params, x, key: MODEL.elbo(params, x, key, kl=kl), (None, None, 0)))


@cache
def _gradients(estimator: Any, kl: Any, samples: int = 1, baseline: bool = False) -> Any:
    def bound(params: Any, x: jax.Array, key: jax.Array) -> jax.Array:
        return MODEL.elbo(params, x, key, samples=samples, estimator=estimator, kl=kl, baseline=baseline)

    return jax.jit(jax.vmap(jax.grad(bound), (None, None, 0)))


def flat(tree: Any, count: int | None = None) -> np.ndarray:
    shape = (-1,) if count is None else (count, -1)
    return np.concatenate([np.asarray(leaf).reshape(shape) for leaf in jax.tree.leaves(tree)], axis=-1)


@pytest.mark.parametrize("kl", ["analytic", "monte_carlo"])
@pytest.mark.parametrize("estimator", ["reparameterized", "score_function"])
def test_both_estimators_of_the_gradient_are_unbiased(estimator: str, kl: str) -> None:
    with jax.enable_x64(True):
        params, x = on_device(random_params(3)), jnp.asarray(events(3, 1)[0])
        truth = flat(jax.grad(exact_bound)(params, x))
        keys = jax.random.split(jax.random.key(0), DRAWS)
        draws = flat(_gradients(estimator, kl)(params, x, keys), DRAWS)
    error = draws.std(0, ddof=1) / np.sqrt(DRAWS)
    # A derivative that no draw changes (the prior's, with the KL in closed form) is exact up to rounding.
    certain = error < 1e-12
    np.testing.assert_allclose(draws.mean(0)[certain], truth[certain], rtol=1e-10, atol=1e-10)
    assert (np.abs(draws.mean(0) - truth)[~certain] / error[~certain]).max() < MOST
    assert certain.sum() == (4 if kl == "analytic" else 0)


def test_the_score_function_is_noisier_and_a_baseline_helps() -> None:
    with jax.enable_x64(True):
        params, x = on_device(random_params(3)), jnp.asarray(events(3, 1)[0])
        keys = jax.random.split(jax.random.key(1), 2000)
        truth = flat(jax.grad(exact_bound)(params, x)["encoder"])
        variances = []
        for settings in (("reparameterized",), ("score_function",), ("score_function", True)):
            run = _gradients(settings[0], "monte_carlo", samples=4, baseline=len(settings) > 1)
            draws = flat(run(params, x, keys)["encoder"], 2000)
            error = draws.std(0, ddof=1) / np.sqrt(2000)
            assert (np.abs(draws.mean(0) - truth) / error).max() < MOST
            variances.append(draws.var(0).sum())
    assert variances[0] < variances[2] < variances[1]


def test_the_value_is_the_same_by_either_estimator() -> None:
    with jax.enable_x64(True):
        params, x = on_device(random_params(1)), jnp.asarray(events(1))
        for settings in ({}, {"kl": "monte_carlo", "samples": 3}):
            first, second = (
                compiled("elbo", estimator=estimator, **settings)(params, x, jax.random.key(0))
                for estimator in ("reparameterized", "score_function")
            )
            np.testing.assert_allclose(first, second, rtol=1e-13)


def test_the_importance_weighted_bound_grows_to_log_p() -> None:
    with jax.enable_x64(True):
        params, x = on_device(random_params(7)), jnp.asarray(events(7, 1)[0])
        truth, elbo = float(log_marginal(params, x)), float(exact_bound(params, x))
        means, errors = [], []
        for samples in (1, 10, 1000):
            run = jax.jit(jax.vmap(lambda key, k=samples: MODEL.log_marginal(params, x, key, samples=k)))
            draws = np.asarray(run(jax.random.split(jax.random.key(samples), 400)))
            means.append(draws.mean())
            errors.append(draws.std(ddof=1) / 20)
    assert abs(means[0] - elbo) < MOST * errors[0]
    assert means[0] < means[1] < means[2]
    assert all(mean < truth + MOST * error for mean, error in zip(means, errors, strict=True))
    assert truth - means[2] < 0.05 * (truth - elbo)


def test_for_given_networks_the_best_prior_has_the_moments_of_the_posteriors() -> None:
    with jax.enable_x64(True):
        params, x = random_params(2), jnp.asarray(events(2, 50))
        mean, log_scale = compiled("encode")(on_device(params), x)
        best_mean = mean.mean(0)
        best = (jnp.exp(2 * log_scale) + jnp.square(mean - best_mean)).mean(0)
        at_best = on_device({**params, "prior": {"mean": best_mean, "log_variance": jnp.log(best)}})
        value = jax.jit(lambda params: MODEL.elbo(params, x, jax.random.key(0)).mean())
        gradient = jax.jit(jax.grad(value))(at_best)["prior"]
        standard = on_device({**params, "prior": {"mean": np.zeros(2), "log_variance": np.zeros(2)}})
        assert flat(gradient) == pytest.approx(0, abs=1e-10)
        assert value(at_best) > value(standard) + 0.1


def test_maximising_the_bound_jointly_maximises_the_likelihood() -> None:
    """V4 with h = log p − VLB ≥ 0, and one latent variable, so that a diagonal q can be the posterior for every θ."""
    model = linear_vae(3, 1, train_variance=True)
    rng = np.random.default_rng(0)
    data = rng.normal(size=(200, 1)) @ np.array([[1.5, -1.0, 0.5]]) + 0.6 * rng.normal(size=(200, 3)) + 0.7
    # Probabilistic PCA: the greatest eigenvalue is that of the signal, the mean of the others is the noise.
    eigenvalues = np.linalg.eigvalsh(np.cov(data.T, bias=True))
    noise = eigenvalues[:-1].mean()
    best = -0.5 * (3 * np.log(2 * np.pi) + np.log(eigenvalues[-1]) + 2 * np.log(noise) + 3)
    # Adam in optax mixes integers and floats.
    with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):
        x = jnp.asarray(data)
        first = jax.jit(model.init)(jax.random.key(0))
        params = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), first)
        optimizer = optax.adam(optax.exponential_decay(0.03, 700, 0.3))

        @jax.jit
        def run(params: Any) -> Any:
            def step(state: Any, key: jax.Array) -> Any:
                params, moments = state
                loss = jax.grad(lambda p: -model.elbo(p, x, key, samples=4, kl="monte_carlo").mean())
                change, moments = optimizer.update(loss(params), moments)
                return (optax.apply_updates(params, change), moments), None

            return jax.lax.scan(step, (params, optimizer.init(params)), jax.random.split(jax.random.key(1), 2500))[0][0]

        params = run(params)
        assert float(log_marginal(params, x).mean()) == pytest.approx(best, abs=1e-4)
        assert float(exact_bound(params, x).mean()) == pytest.approx(best, abs=2e-4)
        assert float(jnp.exp(params["likelihood"]["log_variance"])) == pytest.approx(noise, rel=0.02)
        assert noise != pytest.approx(VARIANCE, rel=0.1)
