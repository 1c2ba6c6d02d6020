from __future__ import annotations

import math
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mathdnn_jax.bijectors.pairwise_sum import pairwise_sum


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 784, 1023])
def test_the_error_is_within_its_bound(size: int) -> None:
    # In the last row every addition to a running sum would be rounded away.
    swallowed = jnp.full((1, size), 2.0**-25).at[0, 0].set(1.0)
    x = jnp.concatenate([jax.random.normal(jax.random.key(size), (5, size)) * 10, swallowed])
    for row, found in zip(np.asarray(x), np.asarray(jax.jit(pairwise_sum)(x)), strict=True):
        exact = sum(Fraction(float(value)) for value in row)
        bound = math.ceil(math.log2(size)) * Fraction(2) ** -24 * sum(abs(Fraction(float(value))) for value in row)
        assert abs(Fraction(float(found)) - exact) <= bound


def test_its_gradient_is_one() -> None:
    np.testing.assert_array_equal(jax.grad(pairwise_sum)(jnp.arange(5.0)), np.ones(5))
