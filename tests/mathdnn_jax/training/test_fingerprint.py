from __future__ import annotations

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mathdnn_jax.training.fingerprint import MULTIPLIERS, fingerprint, fingerprints


@functools.cache
def compiled() -> Callable[[jax.Array], jax.Array]:
    return jax.jit(fingerprint)


@given(values=st.lists(st.integers(0, 2**32 - 1), min_size=6, max_size=6))
def test_the_formula(values: list[int]) -> None:
    words = np.array(values, np.uint32).reshape(2, 3)
    expected = [sum((2 * i * m + 1) * word for i, word in enumerate(values)) % 2**32 for m in MULTIPLIERS]
    np.testing.assert_array_equal(compiled()(jnp.asarray(words)), np.array(expected, np.uint32))


@given(place=st.integers(0, 34), bit=st.integers(0, 31))
def test_no_single_bit_changes_unseen(place: int, bit: int) -> None:
    words = np.random.default_rng(0).integers(0, 2**32, (5, 7), dtype=np.uint32)
    before = compiled()(jnp.asarray(words))
    words.reshape(-1)[place] ^= np.uint32(1 << bit)
    after = compiled()(jnp.asarray(words))
    assert (np.asarray(before) != np.asarray(after)).all()


def test_order_counts() -> None:
    swapped = jnp.array([2.0, 1.0, 3.0])
    assert fingerprints({"x": jnp.array([1.0, 2.0, 3.0])}) != fingerprints({"x": swapped})


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16", "int8", "uint8", "int32", "bool", "complex64"])
def test_every_dtype_is_fingerprinted_by_its_bits(dtype: str) -> None:
    array = jnp.array([[0, 1], [1, 0]]).astype(dtype)
    other = jnp.array([[0, 1], [1, 1]]).astype(dtype)
    assert fingerprints({"x": array}) != fingerprints({"x": other})
    assert fingerprints({"x": array}) == fingerprints({"x": np.asarray(array)})


def test_float64_is_fingerprinted_to_its_last_bit() -> None:
    with jax.enable_x64(True):
        assert fingerprints({"x": jnp.array([1.0])}) != fingerprints({"x": jnp.array([1.0 + 2.0**-52])})
