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
    x = np.full((6, size), 2.0**-25, np.float32)
    x[:5] = 10 * np.random.default_rng(size).normal(size=(5, size))
    x[5, 0] = 1
    for row, found in zip(x, np.asarray(jax.jit(pairwise_sum)(x)), strict=True):
        exact = sum(Fraction(float(value)) for value in row)
        bound = math.ceil(math.log2(size)) * Fraction(2) ** -24 * sum(abs(Fraction(float(value))) for value in row)
        assert abs(Fraction(float(found)) - exact) <= bound


def test_its_gradient_is_one() -> None:
    np.testing.assert_array_equal(jax.grad(pairwise_sum)(jnp.arange(5.0)), np.ones(5))
