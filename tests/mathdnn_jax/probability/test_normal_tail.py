from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from scipy import special

from mathdnn_jax.probability.normal_tail import log_cdf_and_log_hazard, quantile_of_log

hazard, quantile = jax.jit(log_cdf_and_log_hazard), jax.jit(quantile_of_log)
dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64])


@dtypes
def test_both_tails_are_those_of_scipy(dtype: type) -> None:
    eps = float(np.finfo(dtype).eps)
    with jax.enable_x64(True):
        x: np.ndarray = np.concatenate([-np.logspace(1, 15, 500), np.linspace(-12, 5, 3000)]).astype(dtype)
        log_cdf, log_hazard = hazard(x)
        y = x.astype(np.float64) * np.sqrt(0.5)
        below = y <= 0
        exact = np.where(below, special.log_ndtr(x.astype(np.float64)), np.log1p(-special.erfc(np.maximum(y, 0)) / 2))
        # Above 0, XLA's log1p in float64 is off by up to 107 ε near −0.41.
        np.testing.assert_allclose(log_cdf, exact, rtol=(8 if dtype is np.float32 else 160) * eps)
        scaled = np.where(below, special.erfcx(np.maximum(-y, 0)), np.exp(np.minimum(y * y, 700)) * special.erfc(-y))
        np.testing.assert_allclose(log_hazard, 0.5 * np.log(2 / np.pi) - np.log(scaled), rtol=80 * eps, atol=80 * eps)


@dtypes
def test_the_quantile_inverts_the_lower_half(dtype: type) -> None:
    eps = float(np.finfo(dtype).eps)
    with jax.enable_x64(True):
        log_p: np.ndarray = -np.logspace(np.log10(np.log(2)), 30 if dtype is np.float32 else 300, 2000).astype(dtype)
        # The Chebyshev sum is right to 6 ε, here taken twice and divided by log 2.
        np.testing.assert_allclose(hazard(quantile(log_p))[0], log_p, rtol=20 * eps)
        p = np.asarray([1e-30, 1e-3, 0.2, 0.4, 0.5])
        z = np.asarray(quantile(np.log(p).astype(dtype)))
        np.testing.assert_allclose(z[:4], special.ndtri(p[:4]), rtol=20 * eps)
        np.testing.assert_allclose(z[4], 0, atol=20 * eps)


def test_derivatives_are_those_of_central_differences() -> None:
    with jax.enable_x64(True):
        x = jnp.asarray([-20.0, -3.0, -0.1, 0.1, 2.0])
        check_grads(hazard, (x,), order=2, atol=1e-6, rtol=1e-6)
        check_grads(quantile, (jnp.asarray([-50.0, -3.0, -0.8]),), order=2, atol=1e-6, rtol=1e-6)
        slope = jax.jit(jax.vmap(jax.grad(lambda x: log_cdf_and_log_hazard(x)[0])))(np.array([-1e8, 30.0]))
        np.testing.assert_allclose(slope, [1e8, np.exp(-450) / np.sqrt(2 * np.pi)], rtol=1e-12)
