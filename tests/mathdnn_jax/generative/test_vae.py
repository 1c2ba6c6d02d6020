from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from mathdnn_jax import Sequential, vae
from mathdnn_jax.errors import ConfigurationError, EventShapeError
from mathdnn_jax.generative import VAE, conv_decoder, conv_trunk, dense_decoder
from mathdnn_jax.generative.likelihood import bernoulli, gaussian
from mathdnn_jax.nets import BatchNorm, Dense, Flatten

from ...drawn import drawn, normal

MLP = vae((6,), 2, decoder=dense_decoder(6, (5,)), trunk=Sequential(dense_0=Dense(5)))
IMAGES = vae((8, 8, 1), 3, trunk=conv_trunk((4,)), decoder=conv_decoder(1, (4,), side=4))
GAUSSIAN = vae((6,), 2, likelihood="gaussian", train_variance=True, variance=0.25, prior="standard")


@pytest.mark.parametrize(("model", "features"), [(MLP, 5), (IMAGES, 64), (GAUSSIAN, 400)])
def test_shapes_with_any_batch_axes(model: VAE, features: int) -> None:
    def check(key: jax.Array) -> jax.Array:
        params = model.init(key)
        assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {np.dtype(np.float32)}
        assert params["encoder"]["mean"]["kernel"].shape == (features, model.latent_dim)
        for batch in ((), (3,), (2, 3)):
            x = jax.random.uniform(key, (*batch, *model.event_shape))
            mean, log_scale = model.encode(params, x)
            assert mean.shape == log_scale.shape == (*batch, model.latent_dim)
            assert model.decode(params, mean).shape == x.shape
            assert model.log_joint(params, x, mean).shape == batch
            for bound in (
                model.elbo(params, x, key, samples=2),
                model.elbo(params, x, key, estimator="score_function", kl="monte_carlo", samples=3, baseline=True),
                model.log_marginal(params, x, key, samples=2),
            ):
                assert bound.shape == batch
                assert bound.dtype == np.float32
            assert model.sample(params, key, batch).shape == x.shape
            assert model.sample_latent(params, key, batch).shape == mean.shape
        return key

    jax.eval_shape(check, jax.random.key(0))


def test_a_batch_is_its_events() -> None:
    params, log_joint = drawn(IMAGES.init), jax.jit(IMAGES.log_joint)
    x = np.random.default_rng(0).random((3, 8, 8, 1), np.float32)
    z = np.asarray(normal(3, 3))
    np.testing.assert_allclose(log_joint(params, x, z), [log_joint(params, x[k], z[k]) for k in range(3)], rtol=1e-5)


def test_the_prior_has_the_moments_that_its_parameters_say() -> None:
    params = drawn(MLP.init)
    params["prior"] = {
        "mean": np.array([5, -7], np.float32),
        "log_variance": np.log([0.01, 4.0]).astype(np.float32),
    }
    z = np.asarray(jax.jit(MLP.sample_latent, static_argnums=2)(params, jax.random.key(0), (4000,)))
    assert z.shape == (4000, 2)
    np.testing.assert_allclose(z.mean(0), [5, -7], atol=0.2)
    np.testing.assert_allclose(z.var(0), [0.01, 4], rtol=0.15)
    assert "prior" not in drawn(GAUSSIAN.init)


def test_samples_are_of_the_likelihood_and_decoded_ones_its_mean() -> None:
    x, means = sampled_and_decoded(MLP, drawn(MLP.init))
    assert set(np.unique(x)) == {0.0, 1.0}
    np.testing.assert_allclose(x.mean(0), means.mean(0), atol=0.05)
    x, means = sampled_and_decoded(GAUSSIAN, jax.jit(GAUSSIAN.init)(jax.random.key(0)))
    np.testing.assert_allclose(x.var(0) - means.var(0), 0.25, atol=0.05)


def sampled_and_decoded(model: VAE, params: Any) -> tuple[np.ndarray, np.ndarray]:
    """4,000 samples, and the decoded means of as many other latents."""

    @jax.jit
    def draw(params: Any, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        first, second = jax.random.split(key)
        z = model.sample_latent(params, second, (4000,))
        return model.sample(params, first, (4000,)), model.decode(params, z)

    x, means = draw(params, jax.random.key(0))
    return np.asarray(x), np.asarray(means)


def test_a_bernoulli_is_right_where_its_logarithms_would_overflow() -> None:
    def array(*values: Any) -> np.ndarray:
        return np.array(values, np.float32)

    log_prob = jax.jit(bernoulli(1).log_prob)
    logits = array([0.0, 3.0], [200.0, -200.0], [-200.0, 200.0])
    found = log_prob({}, array(1, 0), logits)
    np.testing.assert_allclose(found, [np.log(0.5) - np.log1p(np.exp(3.0)), 0.0, -400.0], rtol=1e-6)
    gradient = jax.jit(jax.grad(lambda values: log_prob({}, array(1, 0), values).sum()))(logits)
    np.testing.assert_allclose(np.asarray(gradient)[2], [1.0, -1.0])
    # For grey images it is the mean over binarised ones, and thus linear in x.
    grey = log_prob({}, array(0.3, 0.6), logits[:1])
    corners = [np.asarray(log_prob({}, array(a, b), logits[:1])) for a in (0, 1) for b in (0, 1)]
    expected = 0.7 * 0.4 * corners[0] + 0.7 * 0.6 * corners[1] + 0.3 * 0.4 * corners[2] + 0.3 * 0.6 * corners[3]
    np.testing.assert_allclose(grey, expected, rtol=1e-6)


def test_the_gradient_of_a_bernoulli_is_x_minus_its_mean() -> None:
    logits = np.append(np.linspace(-90, 90, 721), [0.0, -0.0, 1e-30, -1e-30, 1e4, -1e4]).astype(np.float32)
    slope = jax.jit(jax.grad(lambda logits, x: bernoulli(1).log_prob({}, x, logits).sum()))
    for x in (0.0, 0.3, 1.0):
        gradient, off = slope(logits, np.float32(x)), np.float32(x) - special.expit(logits)
        np.testing.assert_allclose(gradient, off, rtol=0, atol=4 * float(np.finfo(np.float32).eps))


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.int32, bool])
def test_a_bernoullis_curvature_is_the_variance(dtype: Any) -> None:
    hessian = jax.jit(jax.hessian(lambda logits: bernoulli(1).log_prob({}, jnp.ones(1, dtype), logits)))
    for logit in (0.0, -0.0, 2.0, -30.0):
        second, mean = np.asarray(hessian(np.array([logit], np.float32))), special.expit(logit)
        np.testing.assert_allclose(second[0, 0], -mean * (1 - mean), rtol=1e-6)


def test_a_gaussian_likelihood_is_the_density() -> None:
    from scipy import stats

    model = gaussian(2, 0.7, True)
    x, mean = np.random.default_rng(0).normal(size=(2, 4, 3, 2))
    expected = stats.norm(mean, np.sqrt(0.7)).logpdf(x).sum((-2, -1))
    found = jax.jit(model.log_prob)(model.init(), x.astype(np.float32), mean.astype(np.float32))
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"latent_dim": 0}, "latent_dim=0"),
        ({"prior": "fixed"}, "'fixed'"),
        ({"likelihood": "poisson"}, "'poisson'"),
        ({"likelihood": "gaussian", "variance": 0.0}, "given 0.0"),
        ({"likelihood": "gaussian", "variance": float("nan")}, "given nan"),
        ({"decoder": dense_decoder(5)}, r"the decoder must return 6 numbers.*\(5,\)"),
        ({"trunk": Sequential(flatten=Flatten(), bn=BatchNorm())}, r"the trunk .*\['batch_stats'\]"),
    ],
)
def test_impossible_models_are_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        vae(**{"event_shape": (6,), "latent_dim": 2, **settings})


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"samples": 0}, "samples=0"),
        ({"estimator": "reinforce"}, "'reinforce'"),
        ({"kl": "exact"}, "'exact'"),
        ({"baseline": True, "samples": 5}, "'reparameterized'"),
        ({"baseline": True, "estimator": "score_function"}, "samples=1"),
    ],
)
def test_impossible_bounds_are_refused(settings: dict[str, Any], words: str) -> None:
    params, key, x = drawn(MLP.init), jax.random.key(0), np.zeros((2, 6), np.float32)
    with pytest.raises(ConfigurationError, match=words):
        jax.eval_shape(functools.partial(MLP.elbo, **settings), params, x, key)
    with pytest.raises(ConfigurationError, match="samples=0"):
        jax.eval_shape(functools.partial(MLP.log_marginal, samples=0), params, x, key)
    with pytest.raises(EventShapeError, match=r"\(6,\).*\(2, 5\)"):
        jax.eval_shape(MLP.elbo, params, x[:, :5], key)
