from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, special, stats

from mathdnn_jax import mixture_cdf_flow
from mathdnn_jax.bijectors import Params
from mathdnn_jax.errors import ConfigurationError, OutOfRangeError
from mathdnn_jax.flows import bits_per_dim, mixture_cdf_mass
from mathdnn_jax.flows.flow import Flow

from ...drawn import drawn, normal

BLOCK = 256
both = pytest.mark.parametrize("normalised", [False, True])


@functools.cache
def compiled(components: int, normalised: bool) -> Flow:
    """The flow with compiled functions, shared by all tests."""
    flow = mixture_cdf_flow(components, normalised)
    return flow._replace(
        forward=jax.jit(flow.forward),
        log_prob=jax.jit(flow.log_prob),
        sample_and_log_prob=jax.jit(flow.sample_and_log_prob, static_argnums=2),
    )


def random_parameters(flow: Flow, seed: int) -> Params:
    rng = np.random.default_rng(seed)
    shapes = jax.eval_shape(flow.init, jax.random.key(0))
    return {name: jnp.asarray(0.7 * rng.normal(size=leaf.shape)) for name, leaf in shapes.items()}


def integral(flow: Flow, params: Params) -> float:
    """The density's integral by Gauss and Legendre's rule on pieces no longer than the narrowest scale."""
    mean, scale = np.asarray(params["mean"]), np.exp(np.asarray(params["log_scale"]))
    pieces = np.arange((mean - 40 * scale).min(), (mean + 40 * scale).max() + scale.min(), scale.min())
    nodes, weights = np.polynomial.legendre.leggauss(16)
    half = np.diff(pieces)[:, None] / 2
    x = pieces[:-1, None] + half * (nodes + 1)
    # A fixed number of pieces at a time, so that one program serves them all.
    blocks = np.split(np.pad(x, ((0, -len(x) % BLOCK), (0, 0)), mode="edge"), -(-len(x) // BLOCK))
    log_prob = np.concatenate([flow.log_prob(params, block) for block in blocks])[: len(x)]
    return float((np.exp(log_prob) * half * weights).sum())


@both
@pytest.mark.parametrize("components", [1, 5])
def test_the_density_integrates_to_its_mass(components: int, normalised: bool) -> None:
    flow = compiled(components, normalised)
    with jax.enable_x64(True):
        for seed in range(4):
            params = random_parameters(flow, seed)
            half = np.exp(np.asarray(params["weight_logits"])).sum() / 2
            mass = 1.0 if normalised else 2 * special.ndtr(half) - 1
            assert abs(integral(flow, params) - mass) < 1e-8
            if not normalised:
                assert mass < 1
                np.testing.assert_allclose(mixture_cdf_mass(params), mass, rtol=1e-14)


@both
def test_an_adaptive_rule_agrees(normalised: bool) -> None:
    flow = compiled(3, normalised)
    with jax.enable_x64(True):
        params = random_parameters(flow, 9)
        found, _ = integrate.quad(
            lambda x: np.exp(float(flow.log_prob(params, x))), -60, 60, points=np.asarray(params["mean"]), limit=200
        )
        expected = 1.0 if normalised else float(mixture_cdf_mass(params))
        assert abs(found - expected) < 1e-8


@both
def test_samples_follow_the_density_divided_by_its_mass(normalised: bool) -> None:
    flow = compiled(4, normalised)
    with jax.enable_x64(True):
        params = random_parameters(flow, 3)
        # A small W, so that the truncation counts.
        params["weight_logits"] = params["weight_logits"] - 2
        x, log_prob = flow.sample_and_log_prob(params, jax.random.key(0), (20000,))
        assert np.isfinite(x).all()
        np.testing.assert_allclose(log_prob, flow.log_prob(params, x), rtol=1e-9, atol=1e-9)
        mass = 1.0 if normalised else float(mixture_cdf_mass(params))
        assert normalised or mass < 0.9

        def distribution(x: np.ndarray) -> np.ndarray:
            z = special.ndtr(np.asarray(flow.forward(params, jnp.asarray(x))[0]))
            return np.asarray((z - (1 - mass) / 2) / mass)

        assert stats.kstest(np.asarray(x), distribution).pvalue > 1e-3


def test_samples_of_the_form_in_the_course_are_found_in_float32_at_any_temperature() -> None:
    flow = mixture_cdf_flow(2)
    params = {**drawn(flow.init), "weight_logits": jnp.asarray([-3.0, -4.0])}
    sample = jax.jit(flow.sample, static_argnums=2)
    for temperature in (0.0, 0.5, 1.0, 5.0):
        x = sample(params, jax.random.key(1), (50000,), None, temperature)
        assert x.dtype == np.float32
        assert np.isfinite(x).all()
    assert jax.eval_shape(flow.sample, params, jax.random.key(2)).shape == ()


def test_the_form_in_the_course_refuses_latents_that_it_does_not_reach() -> None:
    flow = mixture_cdf_flow(2)
    params = {**drawn(flow.init), "weight_logits": jnp.asarray([0.0, 0.0])}
    with pytest.raises(OutOfRangeError, match="truncated"):
        flow.inverse(params, normal(100))


@pytest.mark.parametrize("event_shape", [(784,), (2, 2, 3)])
def test_bits_per_dim(event_shape: tuple[int, ...]) -> None:
    entries = int(np.prod(event_shape))
    # A uniform density on [0, 1]^D makes 256 levels cost 8 bits each.
    np.testing.assert_allclose(bits_per_dim(jnp.zeros(3), event_shape), np.full(3, 8.0), rtol=1e-6)
    np.testing.assert_allclose(bits_per_dim(jnp.asarray(np.log(2) * entries), event_shape), 7.0, rtol=1e-6)
    np.testing.assert_allclose(bits_per_dim(jnp.asarray(-np.log(2) * entries), event_shape, 1), 1.0, rtol=1e-6)


@pytest.mark.parametrize(("shape", "levels"), [((3,), 0), ((0,), 256)])
def test_bits_of_nothing_are_refused(shape: tuple[int, ...], levels: int) -> None:
    with pytest.raises(ConfigurationError, match=r"without empty axes and at least one level"):
        bits_per_dim(jnp.zeros(()), shape, levels)
