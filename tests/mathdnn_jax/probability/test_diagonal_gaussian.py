from __future__ import annotations

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from numpy.typing import NDArray
from scipy import stats

from mathdnn_jax.errors import DomainError, EventShapeError
from mathdnn_jax.probability import (
    diagonal_gaussian_kl,
    diagonal_gaussian_log_prob,
    diagonal_gaussian_sample,
    gaussian_kl,
    gaussian_log_prob,
)
from mathdnn_jax.probability.tangent_gap import tangent_gap

log_density, divergence = jax.jit(diagonal_gaussian_log_prob), jax.jit(diagonal_gaussian_kl)
full_log_density, full_divergence = jax.jit(gaussian_log_prob), jax.jit(gaussian_kl)


def entries(reach: float) -> st.SearchStrategy[list[float]]:
    return st.lists(st.floats(-reach, reach, allow_subnormal=False), min_size=3, max_size=3)


@given(x=entries(50), mean=entries(50), log_scale=entries(5))
def test_the_log_density_is_scipys(x: list[float], mean: list[float], log_scale: list[float]) -> None:
    expected = stats.norm.logpdf(x, mean, np.exp(log_scale))
    with jax.enable_x64(True):
        ours = diagonal_gaussian_log_prob(np.array(x), np.array(mean), np.array(log_scale))
    np.testing.assert_allclose(ours, expected.sum(), rtol=1e-13 * np.abs(expected).sum() / abs(expected.sum()))


@given(means=st.tuples(entries(3), entries(3)), log_scales=st.tuples(entries(2), entries(2)))
def test_the_diagonal_is_the_full_case_without_correlation(
    means: tuple[list[float], list[float]], log_scales: tuple[list[float], list[float]]
) -> None:
    (mean, other_mean), (log_scale, other_log_scale) = np.array(means), np.array(log_scales)
    covariance, other = np.diag(np.exp(2 * log_scale)), np.diag(np.exp(2 * other_log_scale))
    with jax.enable_x64(True):
        kl = float(divergence(mean, log_scale, other_mean, other_log_scale))
        np.testing.assert_allclose(kl, full_divergence(mean, covariance, other_mean, other), rtol=1e-11, atol=1e-14)
        np.testing.assert_allclose(
            log_density(mean, other_mean, log_scale), full_log_density(mean, other_mean, covariance), rtol=1e-12
        )
        columns = [x[:, None] for x in (mean, log_scale, other_mean, other_log_scale)]
        each = np.asarray(divergence(*columns))
    assert each.shape == (3,)
    np.testing.assert_allclose(kl, each.sum(), rtol=1e-14)
    assert kl >= 0
    apart = max(np.abs(mean - other_mean).max(), np.abs(log_scale - other_log_scale).max())
    # The square of a smaller distance underflows.
    if apart == 0 or apart > 1e-150:
        assert (kl == 0) == (apart == 0)


def test_kl_in_one_dimension_is_the_integral() -> None:
    x = np.linspace(-30, 30, 60_001)
    for mean, log_scale, other_mean, other_log_scale in [(0, 0, 1, 0.5), (-2, 0.7, 1, -0.3), (0.1, -1, 0, -1)]:
        p = stats.norm.pdf(x, mean, np.exp(log_scale))
        log_ratio = stats.norm.logpdf(x, mean, np.exp(log_scale))
        log_ratio = log_ratio - stats.norm.logpdf(x, other_mean, np.exp(other_log_scale))
        arguments = [np.array([float(v)]) for v in (mean, log_scale, other_mean, other_log_scale)]
        with jax.enable_x64(True):
            kl = diagonal_gaussian_kl(*arguments)
        np.testing.assert_allclose(kl, (p * log_ratio).sum() * (x[1] - x[0]), atol=1e-11)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_extremes_are_finite_and_never_negative(dtype: type) -> None:
    positive = np.logspace(-30, 1.4, 100)
    steps: NDArray[np.floating] = np.concatenate([-positive[::-1], [0], positive]).astype(dtype)
    zero: NDArray[np.floating] = np.zeros(1, dtype)
    with jax.enable_x64(dtype is np.float64):
        kl = np.asarray(divergence(zero, steps[:, None], zero, zero))
        gradient = jax.jit(jax.vmap(jax.grad(lambda s: diagonal_gaussian_kl(zero, s[None], zero, zero))))(steps)
    assert kl.dtype == dtype
    assert np.isfinite(kl).all()
    assert (kl >= 0).all()
    np.testing.assert_allclose(gradient, np.expm1(2 * steps), rtol=20 * float(np.finfo(dtype).eps))


@given(y=st.floats(-40, 40, allow_subnormal=False))
def test_the_tangent_gap_keeps_its_digits(y: float) -> None:
    terms = [1.0]
    while abs(terms[-1]) > 1e-20:
        terms.append(terms[-1] * y / (len(terms) + 2))
    # The series beyond its first two terms cancels for y far below 0; there expm1 does not.
    expected = 0.5 * y * y * sum(reversed(terms)) if abs(y) < 1 else np.expm1(y) - y
    with jax.enable_x64(True):
        np.testing.assert_allclose(jax.jit(tangent_gap)(y), expected, rtol=5e-14, atol=1e-300)


def test_samples_follow_the_law() -> None:
    mean, log_scale = jnp.asarray([1.0, -2.0]), jnp.asarray([-1.0, 2.0])
    x = np.asarray(jax.jit(diagonal_gaussian_sample, static_argnums=3)(jax.random.key(1), mean, log_scale, (20_000,)))
    assert x.shape == (20_000, 2)
    standardized = (x - np.asarray(mean)) / np.exp(np.asarray(log_scale))
    # Each p-value is below 1e-7 with that probability.
    assert all(stats.kstest(standardized[:, i], stats.norm.cdf).pvalue > 1e-7 for i in range(2))
    assert abs(stats.pearsonr(*standardized.T).statistic) < 5.5 / np.sqrt(20_000)


def test_mistakes_are_refused() -> None:
    zero = jnp.zeros(2)
    with pytest.raises(EventShapeError, match="the last axes"):
        diagonal_gaussian_log_prob(zero, zero, jnp.zeros(3))
    with pytest.raises(EventShapeError, match="the last axes"):
        diagonal_gaussian_sample(jax.random.key(0), zero, jnp.zeros(()))
    with pytest.raises(EventShapeError, match="the last axes"):
        diagonal_gaussian_kl(zero, zero, zero, jnp.zeros(1))
    with pytest.raises(DomainError, match="log_scale has 2 NaN"):
        diagonal_gaussian_log_prob(zero, zero, zero * jnp.nan)
    with pytest.raises(DomainError, match="other_mean has 2 NaN"):
        diagonal_gaussian_kl(zero, zero, zero * jnp.nan, zero)
    with pytest.raises(DomainError, match="mean has 2 NaN"):
        diagonal_gaussian_sample(jax.random.key(0), zero * jnp.nan, zero)
    assert bool(jnp.isnan(divergence(zero * jnp.nan, zero, zero, zero)))
