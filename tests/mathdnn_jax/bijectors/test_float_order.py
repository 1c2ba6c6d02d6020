"""Ranks of floats, and the middle of two integers."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mathdnn_jax.bijectors.float_order import check_float, float_of_rank, middle, rank
from mathdnn_jax.errors import ConfigurationError

INTEGER = {np.float32: np.int32, np.float64: np.int64}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_adjacent_floats_have_adjacent_ranks(dtype: type[np.floating]) -> None:
    numbers, integer = np.finfo(dtype), INTEGER[dtype]
    x = np.array([0, numbers.tiny, 1, 1.5, numbers.max, np.inf], dtype)
    x = np.concatenate([-x[:0:-1], x])
    with jax.enable_x64(True):
        ranks = np.asarray(jax.jit(rank)(x))
        floats = jax.jit(float_of_rank, static_argnums=1)
        back, least = (np.asarray(floats(some, jnp.dtype(dtype))) for some in (ranks, np.arange(2, dtype=integer)))
    np.testing.assert_array_equal(ranks[5:], x[5:].view(integer))
    np.testing.assert_array_equal(ranks, -ranks[::-1])
    np.testing.assert_array_equal(back, x)
    # The first float above zero; bits are compared, since XLA takes such a number for zero on a CPU.
    np.testing.assert_array_equal(least.view(integer), [0, 1])


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
def test_the_middle_of_integers_whose_sum_overflows(dtype: type[np.integer]) -> None:
    most = int(np.iinfo(dtype).max)
    pairs = [(most - 2, most), (-most, most), (-most, 1 - most), (3, 4), (-4, -3), (0, 0)]
    low, high = np.array(pairs, dtype).T
    with jax.enable_x64(True):
        found = jax.jit(middle)(low, high)
    np.testing.assert_array_equal(found, [(a + b) // 2 for a, b in pairs])


def test_other_types_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="a map works on float32 and float64, given float16"):
        check_float(jnp.ones(2, jnp.float16), "a map")
