from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mathdnn_jax.bijectors import monotone_inverse


@pytest.mark.parametrize("bits", [0x7FC00000, 0x7FFFFFFF, 0x7F800000])
def test_no_root_is_found_between_ends_that_are_nan(bits: int) -> None:
    end = jnp.asarray(np.array([bits], np.int32).view(np.float32))
    solve = jax.jit(lambda end: monotone_inverse(lambda _, x: jnp.tanh(x), None, jnp.zeros(1), lower=end, upper=end))
    x, found = solve(end)
    assert np.isnan(x).all()
    assert not found.any()
