from __future__ import annotations

import functools
import math
from collections.abc import Callable

import hypothesis.strategies as st
import jax
import numpy as np
import pytest
from hypothesis import given
from scipy import stats

from mathdnn_jax.errors import CovarianceError, DomainError, EventShapeError
from mathdnn_jax.probability import gaussian_kl, gaussian_log_prob, gaussian_sample

from .covariances import Matrix, Vector, condition, factors, vectors

EPSILON = float(np.finfo(np.float64).eps)

log_density, divergence = jax.jit(gaussian_log_prob), jax.jit(gaussian_kl)

dims = st.integers(1, 3)
gaussians = dims.flatmap(lambda d: st.tuples(vectors(d), factors(d)))
pairs = dims.flatmap(lambda d: st.tuples(vectors(d), factors(d), vectors(d), factors(d)))


def exact_log_prob(x: Vector, mean: Vector, factor: Matrix) -> tuple[float, float]:
    """The log-density by the known factor, and the sum of its terms' magnitudes, to which rounding is relative."""
    whitened = np.linalg.solve(factor, x - mean)
    logs = np.log(np.diag(factor))
    value = -0.5 * whitened @ whitened - logs.sum() - len(x) / 2 * np.log(2 * np.pi)
    return float(value), float(0.5 * whitened @ whitened + np.abs(logs).sum() + len(x))


@given(case=gaussians, data=st.data())
def test_the_log_density_is_that_of_the_known_factor(case: tuple[Vector, Matrix], data: st.DataObject) -> None:
    mean, factor = case
    x = data.draw(vectors(len(mean)))
    covariance = factor @ factor.T
    value, size = exact_log_prob(x, mean, factor)
    with jax.enable_x64(True):
        ours = gaussian_log_prob(x, mean, covariance)
    np.testing.assert_allclose(ours, value, rtol=0, atol=10 * EPSILON * condition(covariance) * size)


@pytest.mark.parametrize("steepness", [1e3, 1e5, 4e5])
def test_conditioning_to_1e12_is_handled(steepness: float) -> None:
    # [1, c; c, c² + 1] has the factor [1, 0; c, 1], and a correlation matrix of condition about 4 c².
    factor = np.array([[1.0, 0.0], [steepness, 1.0]])
    covariance = factor @ factor.T
    x, mean, other = np.array([1.0, steepness + 2]), np.zeros(2), np.diag([2.0, 3.0])
    tolerance = 10 * EPSILON * condition(covariance)
    assert condition(covariance) > steepness**2
    with jax.enable_x64(True):
        log_prob = gaussian_log_prob(x, mean, covariance)
        kl = gaussian_kl(mean, other, mean, covariance)
    np.testing.assert_allclose(log_prob, exact_log_prob(x, mean, factor)[0], rtol=tolerance)
    expected = 0.5 * (np.trace(np.linalg.solve(factor.T, np.linalg.solve(factor, other))) - 2 - np.log(6.0))
    np.testing.assert_allclose(kl, expected, rtol=tolerance)


def test_scales_do_not_count_as_ill_conditioning() -> None:
    scale = np.array([1e-15, 1.0, 1e15])
    correlation = np.array([[1, 0.5, 0.2], [0.5, 1, 0.3], [0.2, 0.3, 1]])
    covariance = correlation * np.outer(scale, scale)
    x = np.array([1.0, -1.0, 2.0])
    with jax.enable_x64(True):
        ours = gaussian_log_prob(x * scale, np.zeros(3), covariance)
    expected = stats.multivariate_normal.logpdf(x, np.zeros(3), correlation) - np.log(scale).sum()
    np.testing.assert_allclose(ours, expected, rtol=1e-13)


def whitened_grid(mean: Vector, factor: Matrix, reach: float = 10.0, step: float = 0.25) -> tuple[Matrix, Vector]:
    """Points μ + L z for z on a grid, and the mass N(z; 0, I) h^d: a rule exact to rounding for polynomials."""
    axis = np.arange(-reach, reach + step / 2, step)
    z = np.stack(np.meshgrid(*[axis] * len(mean), indexing="ij"), -1).reshape(-1, len(mean))
    mass = np.exp(stats.norm.logpdf(z).sum(-1)) * step ** len(mean)
    return mean + z @ factor.T, mass


@given(case=st.integers(1, 2).flatmap(lambda d: st.tuples(vectors(d), factors(d), vectors(d), factors(d))))
def test_kl_is_the_integral(case: tuple[Vector, Matrix, Vector, Matrix]) -> None:
    mean, factor, other_mean, other_factor = case
    x, mass = whitened_grid(mean, factor)
    log_ratio = np.array(
        stats.multivariate_normal.logpdf(x, mean, factor @ factor.T)
        - stats.multivariate_normal.logpdf(x, other_mean, other_factor @ other_factor.T)
    )
    with jax.enable_x64(True):
        kl = divergence(mean, factor @ factor.T, other_mean, other_factor @ other_factor.T)
    np.testing.assert_allclose(kl, mass @ log_ratio, rtol=1e-9, atol=1e-9)


@given(case=pairs)
def test_kl_is_positive_and_its_formula_by_inverses(case: tuple[Vector, Matrix, Vector, Matrix]) -> None:
    mean, factor, other_mean, other_factor = case
    covariance, other = factor @ factor.T, other_factor @ other_factor.T
    shift, inverse = other_mean - mean, np.linalg.inv(other)
    log_ratio = 2 * np.log(np.diag(other_factor) / np.diag(factor)).sum()
    terms = [np.trace(inverse @ covariance), shift @ inverse @ shift, -len(mean), log_ratio]
    tolerance = 10 * EPSILON * (condition(covariance) + condition(other)) * np.abs(terms).sum()
    with jax.enable_x64(True):
        kl = float(divergence(mean, covariance, other_mean, other))
    assert kl >= 0
    assert (kl == 0) == (np.array_equal(mean, other_mean) and np.array_equal(factor, other_factor))
    np.testing.assert_allclose(kl, 0.5 * sum(terms), rtol=0, atol=tolerance)


@given(case=gaussians, exponent=st.integers(3, 15))
def test_kl_of_neighbours_is_not_lost_to_rounding(case: tuple[Vector, Matrix], exponent: int) -> None:
    mean, factor = case
    covariance, step = factor @ factor.T, 2.0**-exponent
    with jax.enable_x64(True):
        same = divergence(mean, covariance, mean, covariance)
        scaled = divergence(mean, covariance, mean, covariance * (1 + step))
    assert 0 <= float(same) < 1e-25
    log_ratio = -math.log1p(step)
    gap = sum(log_ratio**k / math.factorial(k) for k in range(2, 14))
    np.testing.assert_allclose(scaled, 0.5 * len(mean) * gap, rtol=30 * EPSILON * condition(covariance) / step)


@given(case=st.tuples(vectors(1), factors(1), vectors(1), factors(1)), other=pairs)
def test_kl_of_products_is_the_sum(
    case: tuple[Vector, Matrix, Vector, Matrix], other: tuple[Vector, Matrix, Vector, Matrix]
) -> None:
    parts = [(m0, l0 @ l0.T, m1, l1 @ l1.T) for m0, l0, m1, l1 in (case, other)]
    product = [
        np.concatenate(blocks) if blocks[0].ndim == 1 else block_diagonal(*blocks)
        for blocks in zip(*parts, strict=True)
    ]
    with jax.enable_x64(True):
        total = divergence(*product)
        each = [float(divergence(*part)) for part in parts]
    np.testing.assert_allclose(total, sum(each), rtol=1e-12)


def block_diagonal(a: Matrix, b: Matrix) -> Matrix:
    return np.block([[a, np.zeros((len(a), len(b)))], [np.zeros((len(b), len(a))), b]])


def random_gaussians(seed: int, count: int, dim: int) -> tuple[Matrix, Matrix]:
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(count, dim, dim + 2)) / np.sqrt(dim)
    return rng.normal(size=(count, dim)), root @ root.mT


def test_kl_is_the_mean_of_the_log_ratio() -> None:
    # Eight t-statistics of 40,000 draws; each exceeds 5.7 with probability 1.2e-8, any of them with 1e-7.
    mean, covariance = random_gaussians(0, 8, 3)
    other_mean, other = random_gaussians(1, 8, 3)
    with jax.enable_x64(True):
        x = jax.jit(gaussian_sample, static_argnums=3)(jax.random.key(0), mean, covariance, (40_000,))
        ratios = np.asarray(log_density(x, mean, covariance)) - np.asarray(log_density(x, other_mean, other))
        kl = np.asarray(divergence(mean, covariance, other_mean, other))
    errors = ratios.std(0, ddof=1) / np.sqrt(len(ratios))
    assert (np.abs(ratios.mean(0) - kl) / errors < 5.7).all()
    assert (errors < 0.1 * kl).all()


def test_samples_follow_the_law() -> None:
    # Six p-values, each below 1e-7 with that probability.
    mean, covariance = random_gaussians(2, 1, 3)
    given_in_float32 = mean[0].astype(np.float32), covariance[0].astype(np.float32)
    x = np.asarray(jax.jit(gaussian_sample, static_argnums=3)(jax.random.key(3), *given_in_float32, (20_000,)))
    assert x.shape == (20_000, 3)
    assert x.dtype == np.float32
    for direction in np.vstack([np.eye(3), np.random.default_rng(0).normal(size=(3, 3))]):
        law = stats.norm(direction @ mean[0], np.sqrt(direction @ covariance[0] @ direction))
        assert stats.kstest(x @ direction, law.cdf).pvalue > 1e-7


def test_an_infinite_entry_has_density_zero() -> None:
    covariance = 2 * np.eye(3, dtype=np.float32) + 1
    x = np.array([[np.inf, 0, 1], [0, -np.inf, np.inf], [np.inf, np.nan, 0], [0, 1, 2]], np.float32)
    found = np.asarray(gaussian_log_prob(x, np.zeros(3, np.float32), covariance))
    assert found[:2].tolist() == [-np.inf, -np.inf]
    assert np.isnan(found[2])
    expected = stats.multivariate_normal.logpdf(x[3], np.zeros(3), covariance)
    np.testing.assert_allclose(found[3], expected, rtol=1e-5)


def test_batches_are_broadcast() -> None:
    mean, covariance = random_gaussians(4, 5, 2)
    other_mean, other = random_gaussians(5, 1, 2)
    x = np.random.default_rng(6).normal(size=(7, 1, 2))
    with jax.enable_x64(True):
        log_prob = np.asarray(log_density(x, mean, covariance))
        kl = np.asarray(divergence(mean, covariance, other_mean[0], other[0]))
        reverse = np.asarray(divergence(other_mean[0], other[0], mean, covariance))
        sample = jax.eval_shape(functools.partial(gaussian_sample, shape=(3, 4)), jax.random.key(0), mean, other[0])
    assert log_prob.shape == (7, 5)
    assert sample.shape == (3, 4, 5, 2)
    for i in range(5):
        expected = stats.multivariate_normal.logpdf(x[:, 0], mean[i], covariance[i])
        np.testing.assert_allclose(log_prob[:, i], expected, rtol=1e-12)
        with jax.enable_x64(True):
            np.testing.assert_allclose(kl[i], divergence(mean[i], covariance[i], other_mean[0], other[0]), rtol=1e-12)
    assert (np.abs(kl - reverse) > 1e-3).all()


@functools.cache
def kl_gradients() -> Callable[..., tuple[jax.Array, ...]]:
    gradients: Callable[..., tuple[jax.Array, ...]] = jax.jit(jax.grad(gaussian_kl, argnums=(0, 1, 2, 3)))
    return gradients


@given(case=pairs)
def test_the_gradient_of_kl(case: tuple[Vector, Matrix, Vector, Matrix]) -> None:
    mean, factor, other_mean, other_factor = case
    covariance, other = factor @ factor.T, other_factor @ other_factor.T
    inverse = np.linalg.inv(other)
    with jax.enable_x64(True):
        gradients = kl_gradients()(mean, covariance, other_mean, other)
    size = condition(covariance) * condition(other) * EPSILON * 1e3
    shift = inverse @ (other_mean - mean)
    np.testing.assert_allclose(gradients[0], -shift, rtol=size, atol=size)
    np.testing.assert_allclose(gradients[2], shift, rtol=size, atol=size)
    expected = 0.5 * (inverse - np.linalg.inv(covariance))
    np.testing.assert_allclose(gradients[1], expected, rtol=size, atol=size * np.abs(expected).max())
    expected = 0.5 * (inverse - inverse @ covariance @ inverse - np.outer(shift, shift))
    np.testing.assert_allclose(gradients[3], expected, rtol=size, atol=size * (1 + np.abs(expected).max()))


BAD = {
    "not positive definite: the least eigenvalue": [[1.0, 2.0], [2.0, 1.0]],
    "not positive definite: a variance is -1": [[1.0, 0.0], [0.0, -1.0]],
    "not positive definite: a variance is 0": [[1.0, 0.0], [0.0, 0.0]],
    "not symmetric: two opposite correlations differ by 0.1": [[1.0, 0.5], [0.4, 1.0]],
    "NaN or infinite": [[1.0, np.nan], [np.nan, 1.0]],
    "too ill-conditioned for its dtype": [[1.0, 1 - 1e-15], [1 - 1e-15, 1.0]],
}


@pytest.mark.parametrize("message", BAD)
def test_invalid_covariances_are_refused(message: str) -> None:
    good, bad, mean = np.eye(2), np.array(BAD[message]), np.zeros(2)
    with jax.enable_x64(True):
        for call in (
            functools.partial(gaussian_log_prob, mean, mean, bad),
            functools.partial(gaussian_sample, jax.random.key(0), mean, bad),
            functools.partial(gaussian_kl, mean, bad, mean, good),
            functools.partial(gaussian_kl, mean, good, mean, np.stack([good, bad])),
        ):
            with pytest.raises(CovarianceError, match=message):
                call()
        if "conditioned" not in message:
            assert np.isnan(log_density(mean, mean, bad))
            assert np.isnan(divergence(mean, bad, mean, good))
            assert np.isnan(jax.jit(gaussian_sample)(jax.random.key(0), mean, bad)).any()


def test_the_limit_is_that_of_the_dtype() -> None:
    covariance = np.array([[1.0, 1 - 1e-6], [1 - 1e-6, 1.0]])
    with pytest.raises(CovarianceError, match=r"correlation matrix is 1\.97e\+06"):
        gaussian_log_prob(np.zeros(2, np.float32), np.zeros(2, np.float32), covariance.astype(np.float32))
    with jax.enable_x64(True):
        gaussian_log_prob(np.zeros(2), np.zeros(2), covariance)


def test_other_mistakes_are_refused() -> None:
    mean, covariance = np.zeros(2, np.float32), np.eye(2, dtype=np.float32)
    with pytest.raises(DomainError, match="mean has 1 NaN among 2"):
        gaussian_log_prob(mean, np.array([np.nan, 0], np.float32), covariance)
    with pytest.raises(EventShapeError, match="x must have 2 as its last axis"):
        jax.eval_shape(gaussian_log_prob, np.zeros(3, np.float32), mean, covariance)
    with pytest.raises(EventShapeError, match="other_mean must have 2"):
        jax.eval_shape(gaussian_kl, mean, covariance, np.zeros((), np.float32), covariance)
    with pytest.raises(EventShapeError, match="mean must have 3"):
        jax.eval_shape(gaussian_kl, mean, covariance, mean, np.eye(3, dtype=np.float32))
    with pytest.raises(EventShapeError, match=r"\(\.\.\., d, d\), given \(2,\)"):
        jax.eval_shape(gaussian_sample, jax.random.key(0), mean, mean)


@pytest.mark.parametrize("batched", range(4))
def test_any_of_the_four_arguments_may_be_the_one_with_a_batch(batched: int) -> None:
    rng = np.random.default_rng(batched)
    with jax.enable_x64(True):
        factors = rng.normal(size=(2, 3, 2, 2)) + 2 * np.eye(2)
        means, covariances = rng.normal(size=(2, 3, 2)), factors @ np.swapaxes(factors, -1, -2)
        every = [means[0], covariances[0], means[1], covariances[1]]
        arguments = [values if k == batched else values[0] for k, values in enumerate(every)]
        found = gaussian_kl(*arguments)
        for n in range(3):
            one = [values[n] if k == batched else values[0] for k, values in enumerate(every)]
            np.testing.assert_allclose(found[n], gaussian_kl(*one), rtol=1e-12)
    assert found.shape == (3,)
