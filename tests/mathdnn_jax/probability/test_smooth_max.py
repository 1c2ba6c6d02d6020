from __future__ import annotations

import functools
import itertools
from collections.abc import Callable

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from numpy.typing import NDArray
from scipy import special

from mathdnn_jax.errors import DomainError, EventShapeError
from mathdnn_jax.probability import smooth_max, smooth_max_gradient

SIZE = 4
entries = st.one_of(st.floats(-1e3, 1e3, allow_subnormal=False), st.floats(-1e300, 1e300, allow_subnormal=False))
vectors = st.lists(entries, min_size=SIZE, max_size=SIZE).map(np.array)
slopes = st.one_of(st.sampled_from([1e-8, 1.0, 1e8]), st.floats(-8, 8).map(lambda power: 10.0**power))


@functools.cache
def compiled(function: Callable[..., jax.Array]) -> Callable[..., jax.Array]:
    return jax.jit(function)


@functools.cache
def gradient() -> Callable[..., tuple[jax.Array, jax.Array]]:
    return jax.jit(jax.grad(smooth_max, argnums=(0, 1)))


@given(x=vectors, beta=slopes)
def test_it_lies_between_the_maximum_and_log_n_over_beta_above(x: NDArray[np.float64], beta: float) -> None:
    with jax.enable_x64(True):
        value = float(compiled(smooth_max)(x, beta))
    slack = 1e-14 * (np.abs(x.max()) + np.log(SIZE) / beta)
    assert x.max() - slack <= value <= x.max() + np.log(SIZE) / beta + slack


@given(x=vectors, beta=slopes, factor=st.floats(1, 10))
def test_it_decreases_in_beta(x: NDArray[np.float64], beta: float, factor: float) -> None:
    with jax.enable_x64(True):
        flat, steep = (float(compiled(smooth_max)(x, b)) for b in (beta, beta * factor))
    assert steep <= flat + 1e-14 * (np.abs(x.max()) + np.log(SIZE) / beta)


@given(x=st.lists(st.floats(-20, 20), min_size=SIZE, max_size=SIZE).map(np.array), beta=st.floats(0.1, 10))
def test_it_is_the_formula(x: NDArray[np.float64], beta: float) -> None:
    with jax.enable_x64(True):
        np.testing.assert_allclose(
            compiled(smooth_max)(x, beta), np.log(np.exp(beta * x).sum()) / beta, rtol=1e-13, atol=1e-13
        )


@given(x=vectors, beta=slopes)
def test_the_gradient_is_the_softmax(x: NDArray[np.float64], beta: float) -> None:
    expected = special.softmax(beta * (x - x.max()))
    with jax.enable_x64(True):
        in_x, in_beta = gradient()(x, beta)
        ours = np.asarray(compiled(smooth_max_gradient)(x, beta))
    np.testing.assert_allclose(ours, expected, rtol=1e-12, atol=1e-300)
    np.testing.assert_allclose(in_x, expected, rtol=1e-12, atol=1e-290)
    assert ours.min() >= 0
    assert ours.sum() == pytest.approx(1, abs=1e-15)
    # dν/dβ = (Σ softmax_i (x_i − m) − (ν − m)) / β = −entropy / β², at most 0.
    entropy = special.entr(expected).sum()
    np.testing.assert_allclose(in_beta, -entropy / beta**2, rtol=1e-9, atol=1e-11 * np.log(SIZE) / beta**2)


@given(place=st.permutations([2.0, 2.0, 2.0, 1.0, -5.0]), dtype=st.sampled_from([np.float32, np.float64]))
def test_ties_share_the_gradient_equally(place: list[float], dtype: type) -> None:
    # Not the indicator of one of them.
    x: NDArray[np.floating] = np.array(place, dtype)
    expected = (x == 2.0) / 3
    with jax.enable_x64(dtype is np.float64):
        for beta in (1e3, 1e8, np.inf):
            np.testing.assert_allclose(compiled(smooth_max_gradient)(x, beta), expected, rtol=1e-6, atol=1e-30)
            np.testing.assert_allclose(gradient()(x, beta)[0], expected, rtol=1e-6, atol=1e-30)
            np.testing.assert_allclose(compiled(smooth_max)(x, beta), 2.0, atol=2e-3)


def test_infinite_beta_is_the_maximum() -> None:
    x = jnp.asarray([1.0, 3.0, -2.0])
    assert float(compiled(smooth_max)(x, jnp.inf)) == 3.0
    np.testing.assert_array_equal(compiled(smooth_max_gradient)(x, jnp.inf), [0, 1, 0])
    in_x, in_beta = gradient()(x, jnp.inf)
    np.testing.assert_array_equal(in_x, [0, 1, 0])
    assert float(in_beta) == 0


def test_infinite_entries_and_nan() -> None:
    infinity = float("inf")
    assert float(smooth_max(jnp.asarray([-infinity, 0.0, 0.0]), 2.0)) == pytest.approx(np.log(2) / 2, rel=1e-6)
    assert float(smooth_max(jnp.asarray([-infinity, -infinity]), 2.0)) == -infinity
    assert float(smooth_max(jnp.asarray([infinity, 0.0]), 2.0)) == infinity
    assert bool(jnp.isnan(smooth_max(jnp.asarray([jnp.nan, 0.0]), 2.0)))


def test_gradients_where_entries_are_infinite() -> None:
    infinity = np.inf
    x = np.array([[infinity, 0], [infinity, infinity], [-infinity, -infinity], [1, -infinity], [np.nan, 1]], np.float32)
    expected = [[1, 0], [0.5, 0.5], [0.5, 0.5], [1, 0], [np.nan, np.nan]]
    for beta in (2.0, infinity):
        slopes = np.full(5, beta, np.float32)
        in_x, in_beta = jax.jit(jax.grad(lambda x, beta: smooth_max(x, beta).sum(), (0, 1)))(x, slopes)
        np.testing.assert_array_equal(compiled(smooth_max_gradient)(x, beta), expected)
        np.testing.assert_array_equal(in_x, expected)
        assert not np.asarray(in_beta)[:4].any()


def test_axes_batches_and_a_beta_for_each() -> None:
    x = np.random.default_rng(0).normal(size=(3, 4, 5)).astype(np.float32)
    of_each_row = np.array([[0.5], [1.0], [4.0]], np.float32)
    betas: list[NDArray[np.float32]] = [of_each_row, np.arange(1, 6, dtype=np.float32), np.full((), 2, np.float32)]
    both = jax.jit(
        lambda x, beta, axis: (smooth_max(x, beta, axis), smooth_max_gradient(x, beta, axis)), static_argnums=2
    )
    for axis, beta in itertools.product((1, -2), betas):
        value, gradients = both(x, beta, axis)
        assert value.shape == (3, 5)
        assert value.dtype == gradients.dtype == jnp.float32
        whole = np.broadcast_to(beta, (3, 5))
        np.testing.assert_allclose(value, special.logsumexp(whole[:, None] * x, axis=1) / whole, rtol=1e-5)
        np.testing.assert_allclose(gradients, special.softmax(whole[:, None] * x, axis=1), rtol=1e-5)


@pytest.mark.parametrize("function", [smooth_max, smooth_max_gradient])
def test_mistakes_are_refused(function: Callable[..., jax.Array]) -> None:
    x = jnp.zeros(3)
    for beta in (0.0, -1.0):
        with pytest.raises(DomainError, match="beta must be greater than 0"):
            function(x, beta)
    with pytest.raises(DomainError, match="beta has 1 NaN"):
        function(x, jnp.nan)
    with pytest.raises(EventShapeError, match=r"axis 0; given the shape \(0, 2\)"):
        function(jnp.zeros((0, 2)), 1.0, 0)
    with pytest.raises(EventShapeError, match="at least one entry"):
        function(jnp.zeros(()), 1.0)
    with pytest.raises(EventShapeError, match=r"of shape \(\); given \(2,\)"):
        function(x, jnp.ones(2))
