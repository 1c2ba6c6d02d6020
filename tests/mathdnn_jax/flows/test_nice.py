from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given

from mathdnn_jax import Flow, nice
from mathdnn_jax.bijectors import Params
from mathdnn_jax.errors import ConfigurationError, EventShapeError

from ...drawn import drawn

EPS = float(np.finfo(np.float64).eps)

configs = st.sampled_from(
    [
        {"dim": 2, "width": 1, "depth": 1, "couplings": 1},
        {"dim": 2, "width": 3, "depth": 2, "couplings": 4},
        {"dim": 3, "width": 2, "depth": 1, "couplings": 2},
        {"dim": 6, "width": 5, "depth": 3, "couplings": 3},
        {"dim": 8, "width": 16, "depth": 5, "couplings": 4},
    ]
)
SMALLEST = {"dim": 2, "width": 3, "depth": 2, "couplings": 4}
seeds = st.integers(0, 2**31 - 1)
scales = st.sampled_from([0.3, 1.0])


class Seen(NamedTuple):
    """Everything that the tests look at, for some events."""

    z: np.ndarray
    log_det: np.ndarray
    back: np.ndarray
    inverse_log_det: np.ndarray
    log_prob: np.ndarray
    jacobians: np.ndarray


@functools.cache
def compiled(dim: int, width: int, depth: int, couplings: int) -> tuple[Flow, Callable[..., Seen]]:
    """A flow, and one program that computes everything from parameters and events; hypothesis calls it many times."""
    flow = nice(dim, width, depth, couplings)
    jacobian = jax.jacfwd(lambda x, params: flow.forward(params, x)[0])

    @jax.jit
    def look(params: Params, x: jax.Array) -> tuple[jax.Array, ...]:
        z, log_det = flow.forward(params, x)
        jacobians = jax.vmap(jacobian, in_axes=(0, None))(x.reshape(-1, dim), params)
        # XLA must not simplify the inverse together with the map that it inverts.
        back = flow.inverse(params, jax.lax.optimization_barrier(z))
        return z, log_det, *back, flow.log_prob(params, x), jacobians

    return flow, lambda params, x: Seen(*map(np.asarray, look(params, x)))


def draw(flow: Flow, seed: int, scale: float, batch: tuple[int, ...]) -> tuple[Params, jax.Array]:
    """Weights of variance scale²/fan_in, so that values do not grow with depth, and normal events."""
    rng = np.random.default_rng(seed)
    shapes = jax.eval_shape(flow.init, jax.random.key(0))

    def leaf(shape: tuple[int, ...]) -> jax.Array:
        return jnp.asarray(scale * rng.normal(size=shape) / np.sqrt(shape[0] if len(shape) > 1 else 1))

    return jax.tree.map(lambda x: leaf(x.shape), shapes), jnp.asarray(
        rng.normal(size=(*batch, *flow.prior.event_shape))
    )


@given(config=configs, seed=seeds, scale=scales)
def test_log_det_equals_slogdet_of_the_jacobian(config: dict[str, int], seed: int, scale: float) -> None:
    check_log_det(config, (3,), seed, scale)


@pytest.mark.parametrize("batch", [(), (2, 2)])
@given(seed=seeds, scale=scales)
def test_log_det_equals_slogdet_with_any_batch_axes(batch: tuple[int, ...], seed: int, scale: float) -> None:
    check_log_det(SMALLEST, batch, seed, scale)


def check_log_det(config: dict[str, int], batch: tuple[int, ...], seed: int, scale: float) -> None:
    flow, look = compiled(**config)
    with jax.enable_x64(True):
        params, x = draw(flow, seed, scale, batch)
        seen = look(params, x)
    assert seen.log_det.shape == seen.inverse_log_det.shape == batch
    whole = np.linalg.slogdet(seen.jacobians)[1].reshape(batch)
    np.testing.assert_allclose(seen.log_det, whole, rtol=0, atol=1e-10)
    np.testing.assert_allclose(seen.inverse_log_det, -whole, rtol=0, atol=1e-10)
    bound = 64 * EPS * (1 + np.abs(x).max() + np.abs(seen.z).max()) * np.linalg.cond(seen.jacobians).max()
    np.testing.assert_allclose(seen.back, x, rtol=0, atol=bound)


@given(config=configs, seed=seeds)
def test_log_prob_is_the_change_of_variables(config: dict[str, int], seed: int) -> None:
    check_log_prob(config, (3,), seed)


@pytest.mark.parametrize("batch", [(), (2, 2)])
@given(seed=seeds)
def test_log_prob_is_the_change_of_variables_with_any_batch_axes(batch: tuple[int, ...], seed: int) -> None:
    check_log_prob(SMALLEST, batch, seed)


def check_log_prob(config: dict[str, int], batch: tuple[int, ...], seed: int) -> None:
    flow, look = compiled(**config)
    with jax.enable_x64(True):
        seen = look(*draw(flow, seed, 1.0, batch))
    # The logistic density written another way: σ(z)(1 − σ(z)) = 1 / (4 cosh²(z/2)).
    log_prior = -2 * np.log(2 * np.cosh(seen.z / 2)).sum(-1)
    assert seen.log_prob.shape == batch
    np.testing.assert_allclose(seen.log_prob, log_prior + seen.log_det, rtol=1e-12, atol=1e-12)


def test_density_integrates_to_one() -> None:
    flow = nice(dim=2, width=3, depth=2, couplings=2)
    with jax.enable_x64(True):
        params, _ = draw(flow, 0, 0.5, ())
        axis = np.linspace(-60, 60, 2001)
        grid = jnp.asarray(np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2))
        total = np.exp(np.asarray(jax.jit(flow.log_prob)(params, grid))).sum() * (axis[1] - axis[0]) ** 2
    # The trapezoidal rule on a density with a few kinks, one per hidden unit, converges like the square of the step.
    assert abs(total - 1) < 1e-4


@pytest.mark.parametrize("shape", [(), (5,), (2, 3)])
def test_samples_are_the_inverse_of_latents_and_know_their_density(shape: tuple[int, ...]) -> None:
    flow = nice(dim=4, width=3, depth=1, couplings=2)
    with jax.enable_x64(True):
        params, _ = draw(flow, 1, 1.0, ())
        key = jax.random.key(7)

        @jax.jit
        def draw_all(params: Params, key: jax.Array) -> tuple[jax.Array, ...]:
            latent = flow.prior.sample(key, shape, np.float64)
            return *flow.sample_and_log_prob(params, key, shape), flow.sample(params, key, shape), latent

        x, log_prob, same, latent = draw_all(params, key)
        assert x.shape == (*shape, 4)
        assert x.dtype == np.float64
        z, expected = jax.jit(lambda params, x: (flow.forward(params, x)[0], flow.log_prob(params, x)))(params, x)
        np.testing.assert_allclose(log_prob, expected, rtol=1e-12)
        np.testing.assert_array_equal(x, same)
        np.testing.assert_allclose(z, latent, rtol=1e-9, atol=1e-9)


def test_vmap_and_grad_go_through_the_density() -> None:
    flow = nice(dim=4, width=5, depth=2, couplings=2)
    with jax.enable_x64(True):
        params, x = draw(flow, 2, 1.0, (3,))
        log_prob = np.asarray(jax.jit(flow.log_prob)(params, x))
        np.testing.assert_allclose(jax.jit(jax.vmap(flow.log_prob, (None, 0)))(params, x), log_prob, rtol=1e-13)
        # One set of parameters each, as in an ensemble.
        stacked = jax.tree.map(lambda leaf: np.stack([leaf, 2 * np.asarray(leaf), leaf]), params)
        each = np.asarray(jax.jit(jax.vmap(flow.log_prob))(stacked, x))
        np.testing.assert_allclose(each[::2], log_prob[::2], rtol=1e-13)
        samples = jax.jit(jax.vmap(flow.sample, (None, 0)))(params, jax.random.split(jax.random.key(0), 2))
        assert samples.shape == (2, 4)
        # With z_i = exp(s_i) y_i, ∂ log p / ∂s_i = 1 − z_i tanh(z_i / 2).
        one = np.asarray(x)[0]
        slope = jax.grad(flow.log_prob)
        gradient, z = jax.jit(lambda params, x: (slope(params, x), flow.forward(params, x)[0]))(params, one)
        z = np.asarray(z)
        np.testing.assert_allclose(gradient["scaling"]["log_scale"], 1 - z * np.tanh(z / 2), rtol=1e-12)


def test_float32_parameters_give_float32_samples() -> None:
    flow = nice(dim=2, width=1, depth=1, couplings=1)
    params, key = drawn(flow.init), jax.random.key(1)
    assert jax.eval_shape(flow.sample, params, key).dtype == np.float32
    compiled = jax.jit(flow.sample, static_argnums=2)(params, key, (3,))
    np.testing.assert_allclose(compiled, flow.sample(params, key, (3,)), rtol=1e-6)


def test_couplings_alternate_and_the_first_keeps_the_odd_entries() -> None:
    flow = nice(dim=6, width=4, depth=1, couplings=2)
    params, x = drawn(flow.init), np.arange(6, dtype=np.float32)
    parts = dict(flow.bijector.parts)
    after_first, _ = jax.jit(parts["coupling_0"].forward)(params["coupling_0"], x)
    assert ((np.asarray(after_first) == x) == [False, True] * 3).all()
    after_second, _ = jax.jit(parts["coupling_1"].forward)(params["coupling_1"], x)
    assert ((np.asarray(after_second) == x) == [True, False] * 3).all()


def test_the_default_is_the_network_of_the_course() -> None:
    shapes = jax.eval_shape(nice().init, jax.random.key(0))
    assert sum(leaf.size for leaf in jax.tree.leaves(shapes)) == 19_158_352
    assert shapes["coupling_3"]["dense_5"]["kernel"].shape == (1000, 392)
    assert shapes["scaling"]["log_scale"].shape == (784,)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"dim": 1}, "dim=1"),
        ({"width": 0}, "width=0"),
        ({"depth": 0}, "depth=0"),
        ({"couplings": 0, "dim": 0}, "dim=0.*couplings=0"),
    ],
)
def test_impossible_networks_are_refused(wrong: dict[str, int], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        nice(**wrong)


def test_images_that_are_not_vectors_are_refused() -> None:
    flow = nice(dim=4, width=2, depth=1, couplings=1)
    with pytest.raises(EventShapeError, match=r"events of shape \(4,\).*shape \(3, 2, 2\)"):
        jax.eval_shape(flow.log_prob, drawn(flow.init), np.zeros((3, 2, 2), np.float32))
