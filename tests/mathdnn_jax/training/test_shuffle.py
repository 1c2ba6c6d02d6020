from __future__ import annotations

import functools
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from mathdnn_jax.training.shuffle import shuffled

counts = st.sampled_from([1, 2, 3, 7, 255, 256, 257, 1000, 4096, 5000])


@functools.cache
def compiled(count: int) -> Callable[[jax.Array], jax.Array]:
    return jax.jit(lambda key: shuffled(key, count))


@functools.cache
def many(count: int, keys: int) -> np.ndarray:
    orders = jax.jit(jax.vmap(lambda key: shuffled(key, count)))(jax.random.split(jax.random.key(count), keys))
    return np.asarray(orders)


@given(count=counts, seed=st.integers(0, 2**31 - 1))
def test_every_number_comes_once(count: int, seed: int) -> None:
    order = compiled(count)(jax.random.key(seed))
    assert order.dtype == np.int32
    np.testing.assert_array_equal(np.sort(order), np.arange(count))


def test_the_key_alone_decides() -> None:
    order = compiled(1000)
    np.testing.assert_array_equal(order(jax.random.key(1)), order(jax.random.key(1)))
    assert (np.asarray(order(jax.random.key(1))) == np.asarray(order(jax.random.key(2)))).mean() < 0.02


@pytest.mark.parametrize("count", [3, 4, 5])
def test_all_orders_of_few_are_equally_likely(count: int) -> None:
    keys = 200 * math.factorial(count)
    _, seen = np.unique(many(count, keys) @ count ** np.arange(count), return_counts=True)
    assert len(seen) == math.factorial(count)
    assert stats.chisquare(seen).pvalue > 1e-4


def test_each_place_has_each_number_equally_often() -> None:
    count, keys = 100, 20_000
    orders = many(count, keys)
    for place in (0, 1, 50, 99):
        assert stats.chisquare(np.bincount(orders[:, place], minlength=count)).pvalue > 1e-4


def test_neighbours_do_not_stay_neighbours() -> None:
    # Of random orders of n: 1 fixed point and (n − 1)/n successors on average; (n − 1)/2 rises, variance (n + 1)/12.
    count, keys = 1000, 2000
    orders = many(count, keys)
    fixed = (orders == np.arange(count)).sum(-1)
    assert abs(fixed.mean() - 1) < 5 / math.sqrt(keys)
    apart = np.diff(orders, axis=-1)
    assert abs((apart == 1).sum(-1).mean() - (count - 1) / count) < 5 / math.sqrt(keys)
    ups = (apart > 0).sum(-1)
    assert abs(ups.mean() - (count - 1) / 2) < 5 * math.sqrt((count + 1) / 12 / keys)
    assert ups.var() == pytest.approx((count + 1) / 12, rel=0.2)


def test_it_works_under_vmap_and_inside_jit() -> None:
    keys = jax.random.split(jax.random.key(0), 3)
    together = jax.vmap(lambda key: shuffled(key, 300))(keys)
    np.testing.assert_array_equal(together, jnp.stack([shuffled(key, 300) for key in keys]))
