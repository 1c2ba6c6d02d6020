from __future__ import annotations

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from numpy.typing import NDArray
from scipy import stats

from mathdnn_jax.errors import DomainError
from mathdnn_jax.probability import diagonal_gaussian_kl, kl_divergence

Vector = NDArray[np.float64]


def laws(size: int) -> st.SearchStrategy[Vector]:
    masses = st.lists(st.integers(0, 1000), min_size=size, max_size=size)
    return masses.filter(any).map(lambda values: np.array(values) / np.sum(values))


divergence = jax.jit(kl_divergence, static_argnames="axis")


def kl(p: Vector, q: Vector) -> float:
    with jax.enable_x64(True):
        return float(divergence(p, q))


@given(p=laws(5), q=laws(5))
def test_it_is_scipys_and_never_negative(p: Vector, q: Vector) -> None:
    with jax.enable_x64(True):
        # Where values can be read they are judged, and none of these is refused.
        ours, expected = float(kl_divergence(p, q)), stats.entropy(p, q)
    np.testing.assert_allclose(ours, expected, rtol=1e-12, atol=1e-14)
    assert ours >= -1e-15
    assert np.isinf(ours) == bool(((q == 0) & (p > 0)).any())
    assert kl(p, p) == pytest.approx(0, abs=1e-15)


@given(p=laws(3), q=laws(3), r=laws(4), s=laws(4))
def test_the_kl_of_products_is_the_sum(p: Vector, q: Vector, r: Vector, s: Vector) -> None:
    np.testing.assert_allclose(kl(np.outer(p, r).ravel(), np.outer(q, s).ravel()), kl(p, q) + kl(r, s), atol=1e-13)


@given(p=laws(6), q=laws(6))
def test_merging_outcomes_cannot_raise_it(p: Vector, q: Vector) -> None:
    fine, coarse = kl(p, q), kl(p.reshape(3, 2).sum(1), q.reshape(3, 2).sum(1))
    assert coarse <= fine + 1e-14


def test_zeros() -> None:
    half, certain = np.array([0.5, 0.5]), np.array([1.0, 0.0])
    with jax.enable_x64(True):
        assert float(kl_divergence(certain, half)) == pytest.approx(np.log(2), rel=1e-15)
        assert float(kl_divergence(half, certain)) == np.inf
        assert float(kl_divergence(certain, certain)) == 0


@pytest.mark.parametrize("dim", [1, 2])
def test_on_a_grid_it_is_that_of_the_gaussians(dim: int) -> None:
    mean, log_scale = np.array([0.5, -1.0])[:dim], np.array([-0.2, 0.1])[:dim]
    other_mean, other_log_scale = np.array([0.0, 0.4])[:dim], np.array([0.3, 0.2])[:dim]
    axis = np.arange(-12, 12, 0.1)
    grid = np.stack(np.meshgrid(*[axis] * dim, indexing="ij"), -1)
    p = stats.norm.pdf(grid, mean, np.exp(log_scale)).prod(-1)
    q = stats.norm.pdf(grid, other_mean, np.exp(other_log_scale)).prod(-1)
    with jax.enable_x64(True):
        ours = divergence(p, q, cell_volume=0.1**dim, axis=tuple(range(dim)))
        cells = divergence(p, q, cell_volume=np.full(p.shape, 0.1**dim), axis=tuple(range(dim)))
        exact = jax.jit(diagonal_gaussian_kl)(mean, log_scale, other_mean, other_log_scale)
    np.testing.assert_allclose(ours, exact, atol=1e-9)
    np.testing.assert_allclose(cells, ours, rtol=1e-13)


def test_a_cell_without_volume_counts_for_nothing() -> None:
    ours = kl_divergence(jnp.asarray([1.0, 2.0]), jnp.asarray([1.0, 0.0]), cell_volume=jnp.asarray([1.0, 0.0]))
    assert float(ours) == 0


def test_batches_and_dtype() -> None:
    p = np.random.default_rng(0).dirichlet(np.ones(4), size=(3, 2)).astype(np.float32)
    q = np.full(4, 0.25, np.float32)
    ours = np.asarray(divergence(p, q))
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, stats.entropy(p, np.broadcast_to(q, p.shape), axis=-1), rtol=1e-5)
    np.testing.assert_allclose(divergence(p.swapaxes(0, 2), q[:, None, None], axis=0), ours.T, rtol=1e-6)


@pytest.mark.parametrize(
    ("p", "message"),
    [
        ([0.5, 0.4], "p sums to 0.9"),
        ([1.5, -0.5], "p ranges from -0.5 to 1.5"),
        ([np.nan, 1.0], "p has 1 NaN among 2"),
        ([np.inf, 1.0], "p ranges from 1 to inf"),
    ],
)
def test_invalid_probabilities_are_refused(p: list[float], message: str) -> None:
    half = jnp.asarray([0.5, 0.5])
    with pytest.raises(DomainError, match=message):
        kl_divergence(jnp.asarray(p), half)
    with pytest.raises(DomainError, match=message.replace("p ", "q ", 1)):
        kl_divergence(half, jnp.asarray(p))


def test_a_traced_nan_stays() -> None:
    half = jnp.asarray([0.5, 0.5])
    assert bool(jnp.isnan(divergence(half * jnp.nan, half)))
    assert bool(jnp.isnan(divergence(half, half * jnp.nan)))
    with pytest.raises(DomainError, match="cell_volume ranges from -1"):
        kl_divergence(half, half, cell_volume=-1.0)
