"""Actnorm and its initialisation from a first batch, alone and inside other maps."""

from __future__ import annotations

import functools

import chex
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given

from mathdnn_jax import chain
from mathdnn_jax.bijectors import actnorm, reshape, split, squeeze
from mathdnn_jax.errors import ConfigurationError, DataSetError, NonFiniteError, ParameterStructureError
from mathdnn_jax.nets import MLP

from ...drawn import drawn, normal

EPS = float(np.finfo(np.float64).eps)
EPS_32 = float(np.finfo(np.float32).eps)

FRESH = {"log_scale": np.zeros(2, np.float32), "bias": np.zeros(2, np.float32)}
"""Parameters of two channels before a batch has initialised them."""


def bound(values: np.ndarray, eps: float) -> np.ndarray:
    """The rounding error of each channel's mean, in units of its deviation; the variance has a few times as much."""
    return np.asarray(8 * eps * (1 + np.abs(values).max(0) / values.std(0)))


def test_it_scales_what_it_has_shifted() -> None:
    params = {"log_scale": jnp.array([0.0, 1.0]), "bias": jnp.array([3.0, -1.0])}
    x = jnp.arange(12.0).reshape(2, 3, 2)
    z, log_det = actnorm(2).forward(params, x)
    # A sum, a product and an exponential, each rounded.
    np.testing.assert_allclose(z, np.array([1.0, np.e]) * (np.asarray(x) + np.array([3.0, -1.0])), rtol=4 * EPS_32)
    np.testing.assert_allclose(log_det, 6.0)


@functools.cache
def compiled(event_ndims: int, channels: int = 3) -> tuple[jax.stages.Wrapped, jax.stages.Wrapped]:
    bijector = actnorm(channels, event_ndims)
    assert bijector.init_from_data is not None
    return jax.jit(bijector.init_from_data), jax.jit(bijector.forward)


@given(seed=st.integers(0, 2**31 - 1), shape=st.sampled_from([(2, 3), (2, 2, 1, 3), (2, 2, 4, 1, 3), (7, 2, 3, 3)]))
def test_the_first_batch_comes_out_with_mean_0_and_variance_1(seed: int, shape: tuple[int, ...]) -> None:
    with jax.enable_x64(True):
        init_from_data, forward = compiled(1 if len(shape) == 2 else 3)
        x = np.random.default_rng(seed).normal(size=shape) * [0.01, 1, 1e6] + [100, 0, -1e6]
        before = {"log_scale": jnp.zeros(3, float), "bias": jnp.zeros(3, float)}
        params = init_from_data(before, jnp.asarray(x))
        z = np.asarray(forward(params, jnp.asarray(x))[0]).reshape(-1, 3)
        values = x.reshape(-1, 3)
        assert (np.abs(z.mean(0)) <= bound(values, EPS)).all()
        assert (np.abs(z.var(0) - 1) <= 4 * bound(values, EPS)).all()
        assert not any(np.asarray(leaf).any() for leaf in before.values())


@pytest.mark.parametrize("value", [0.0, 0.1, -1e4])
def test_a_constant_channel_is_centred_and_keeps_its_scale(value: float) -> None:
    x = np.stack([np.full((8, 2, 2), value, np.float32), normal(8, 2, 2)], -1)
    init_from_data, forward = compiled(3, 2)
    params = init_from_data(FRESH, x)
    z = np.asarray(forward(params, x)[0])
    assert float(params["log_scale"][0]) == 0
    # The mean of 32 equal numbers: five sums, a division and a difference are rounded.
    np.testing.assert_allclose(z[..., 0], 0, atol=8 * EPS_32 * abs(value))
    assert abs(z[..., 1].astype(np.float64).var() - 1) <= 4 * bound(x[..., 1].reshape(-1), EPS_32)


@pytest.mark.parametrize("unit", [1e-15, 1e-6, 1.0, 1e12])
def test_the_units_of_the_data_do_not_matter(unit: float) -> None:
    noise = normal(64)
    x = np.float32(unit) * np.stack([noise, 100 + 0.01 * noise, np.full(64, 0.3), 1e3 + 1e-4 * noise], -1)
    init_from_data, forward = compiled(1, 4)
    params = init_from_data({name: np.zeros(4, np.float32) for name in FRESH}, x.astype(np.float32))
    z = np.asarray(forward(params, x.astype(np.float32))[0], np.float64)
    # The third channel is constant, and the fourth but for the rounding of float32, whose spacing at 1e3 is 6e-5.
    assert (np.asarray(params["log_scale"])[2:] == 0).all()
    assert (np.asarray(params["log_scale"])[:2] != 0).all()
    np.testing.assert_allclose(z[:, :2].var(0), 1, rtol=4 * float(bound(x[:, 1:2].astype(np.float64), EPS_32)[0]))
    assert (np.abs(z[:, 2:].mean(0)) <= 8 * EPS_32 * unit * 1e3).all()


def test_the_variance_floor_is_the_users() -> None:
    x = np.float32(1e-6) * np.asarray(normal(50, 1))
    for floor, expected in ((1e-8, x.var()), (0.0, 1.0)):
        bijector = actnorm(1, 1, variance_floor=floor)
        assert bijector.init_from_data is not None
        params = jax.jit(bijector.init_from_data)({name: np.zeros(1, np.float32) for name in FRESH}, x)
        z = np.asarray(jax.jit(bijector.forward)(params, x)[0])
        np.testing.assert_allclose(z.var(), expected, rtol=4 * float(bound(x, EPS_32)[0]))


def test_a_constant_channel_keeps_its_scale_at_a_floor_of_zero() -> None:
    bijector = actnorm(2, 1, variance_floor=0.0)
    assert bijector.init_from_data is not None
    params = jax.jit(bijector.init_from_data)(FRESH, np.array([[3, 1], [3, 2]], np.float32))
    np.testing.assert_allclose(params["log_scale"], [0, np.log(2)], rtol=4 * EPS_32)


def test_parts_of_a_composition_are_given_what_reaches_them() -> None:
    inner = chain(first=actnorm(3), flat=reshape((1, 2, 3), (6,)))
    bijector = chain(squeeze=squeeze((2, 4, 2)), norm=actnorm(8), split=split(inner, (1, 2, 8), MLP((10,)), kept=3))
    assert bijector.init_from_data is not None
    x = 3 + 5 * np.asarray(normal(64, 2, 4, 2))
    before = drawn(bijector.init)
    params = jax.tree.map(np.asarray, jax.jit(bijector.init_from_data)(before, x))
    chex.assert_trees_all_equal(params["split"]["prior"], before["split"]["prior"])
    assert params["norm"]["log_scale"].any()
    z, _ = jax.jit(bijector.forward)(params, x)
    # The data that reach the inner norm come out of it with mean 0 and variance 1.
    kept = np.asarray(z, np.float64)[:, 10:].reshape(-1, 3)
    assert (np.abs(kept.mean(0)) <= bound(kept, EPS_32)).all()
    assert (np.abs(kept.var(0) - 1) <= 4 * bound(kept, EPS_32)).all()


@pytest.mark.parametrize(
    ("bijector", "shape"), [(actnorm(2), (1, 1, 2)), (actnorm(2, 1), (2,)), (actnorm(2, 1), (0, 2))]
)
def test_a_batch_of_less_than_two_values_is_refused(bijector: object, shape: tuple[int, ...]) -> None:
    with pytest.raises(DataSetError, match="at least two values for each channel"):
        jax.eval_shape(bijector.init_from_data, FRESH, np.ones(shape, np.float32))  # type: ignore[attr-defined]


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e30])
def test_a_batch_without_finite_variance_is_refused_and_not_hidden_under_jit(value: float) -> None:
    bijector = actnorm(3, 1)
    assert bijector.init_from_data is not None
    x = np.array(normal(5, 3))
    x[2, 1] = value
    params = {name: jnp.zeros(3) for name in FRESH}
    with pytest.raises(NonFiniteError, match=r"in channels \[1\]"):
        bijector.init_from_data(params, jnp.asarray(x))
    log_scale = np.asarray(jax.jit(bijector.init_from_data)(params, x)["log_scale"])
    assert not np.isfinite(log_scale[1])
    assert np.isfinite(log_scale[[0, 2]]).all()


@pytest.mark.parametrize(
    "arguments", [{"channels": 0}, {"event_ndims": 0}, {"variance_floor": -1.0}, {"variance_floor": np.nan}]
)
def test_impossible_arguments_are_refused(arguments: dict[str, float]) -> None:
    with pytest.raises(ConfigurationError, match=r"given (channels=|-1.0|nan)"):
        actnorm(**({"channels": 2} | arguments))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["log_scale", "bias"])
def test_parameters_of_another_shape_are_refused(name: str) -> None:
    params = FRESH | {name: np.zeros(1, np.float32)}
    for function in (actnorm(2).forward, actnorm(2).inverse):
        with pytest.raises(ParameterStructureError, match=r"of shape \(2,\)"):
            jax.eval_shape(function, params, np.zeros((1, 1, 2), np.float32))


def test_a_channel_on_the_boundary_of_the_floor_is_constant() -> None:
    # Deviations of 8 and 9 ε around a greatest value of 1, and variances of 1 and just above: all are exact numbers.
    eps = np.float32(EPS_32)
    x = np.array([[1, 1], [1 - 16 * eps, 1 - 18 * eps]], np.float32)
    params = compiled(1, 2)[0](FRESH, x)
    np.testing.assert_array_equal(np.asarray(params["log_scale"]) == 0, [True, False])
    bijector = actnorm(2, 1, variance_floor=1.0)
    assert bijector.init_from_data is not None
    params = jax.jit(bijector.init_from_data)(FRESH, np.array([[-1, -1 - 2 * eps], [1, 1 + 2 * eps]], np.float32))
    np.testing.assert_array_equal(np.asarray(params["log_scale"]) == 0, [True, False])
