from __future__ import annotations

import flax.linen as nn
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given

from mathdnn_jax import MLP, additive_coupling
from mathdnn_jax.bijectors.index_set import index_sets, pick, put
from mathdnn_jax.errors import ConfigurationError

masks = st.lists(st.booleans(), min_size=2, max_size=9).filter(lambda mask: 0 < sum(mask) < len(mask)).map(np.asarray)


@given(mask=masks)
def test_the_kept_entries_pass_unchanged_and_the_others_move_by_the_shift(mask: np.ndarray) -> None:
    kept, moved = np.flatnonzero(mask), np.flatnonzero(~mask)
    conditioner = MLP((3, len(moved)))
    bijector = additive_coupling(conditioner, mask)
    params = bijector.init(jax.random.key(0))
    x = jax.random.normal(jax.random.key(1), (4, len(mask)))
    z, _ = bijector.forward(params, x)
    np.testing.assert_array_equal(z[:, kept], x[:, kept])
    shift = np.asarray(conditioner.apply({"params": params}, x[:, kept]))
    np.testing.assert_array_equal(z[:, moved], x[:, moved] + shift)


@given(mask=masks)
def test_picking_and_putting_are_numpy_indexing(mask: np.ndarray) -> None:
    x = np.arange(2.0 * len(mask), dtype=np.float32).reshape(2, -1)
    for entries, chosen in zip(index_sets(mask), (mask, ~mask), strict=True):
        picked = pick(jnp.asarray(x), entries)
        np.testing.assert_array_equal(picked, x[:, chosen])
        np.testing.assert_array_equal(put(picked, entries), np.where(chosen, x, 0))


@pytest.mark.parametrize(
    ("mask", "words"),
    [
        (np.array([True, True]), "2 of 2 entries kept"),
        (np.array([False, False]), "0 of 2 entries kept"),
        (np.array([True]), "1 of 1"),
        (np.array(True), "shape \\(\\)"),
        (np.array([1, 0]), "boolean array, given dtype int64"),
    ],
)
def test_masks_that_are_no_proper_subset_are_refused(mask: np.ndarray, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        additive_coupling(MLP((1,)), mask)


def test_a_conditioner_of_the_wrong_width_is_refused() -> None:
    bijector = additive_coupling(MLP((3,)), np.array([True, False, False]))
    with pytest.raises(ConfigurationError, match=r"an array of shape \(5, 2\).*returned \(5, 3\)"):
        bijector.forward(bijector.init(jax.random.key(0)), jnp.zeros((5, 3)))


class _WithState(nn.Module):
    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        self.variable("statistics", "count", lambda: jnp.zeros(()))
        return x


def test_a_conditioner_with_state_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="statistics"):
        additive_coupling(_WithState(), np.array([True, False])).init(jax.random.key(0))
