from __future__ import annotations

import functools
import math
from collections.abc import Callable

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given

from mathdnn_jax.errors import ConfigurationError, DomainError, EventShapeError, SupportError
from mathdnn_jax.probability import ImportanceEstimate, importance_estimate, importance_sampling

lists = st.sampled_from([2, 3, 5]).flatmap(
    lambda count: st.lists(st.tuples(st.floats(-5, 5), st.floats(-3, 3)), min_size=count, max_size=count)
)


@functools.cache
def compiled(self_normalized: bool) -> Callable[..., ImportanceEstimate]:
    return jax.jit(functools.partial(importance_estimate, self_normalized=self_normalized))


def standard(x: jax.Array) -> jax.Array:
    return -0.5 * jnp.square(x) - 0.5 * math.log(2 * math.pi)


def tail(x: jax.Array) -> jax.Array:
    return jnp.where(x > 4.0, 1.0, 0.0)


def shifted(x: jax.Array) -> jax.Array:
    return standard(x - 4.0)


def draw_shifted(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    return 4.0 + jax.random.normal(key, shape)


@given(case=lists)
def test_it_is_the_formula(case: list[tuple[float, float]]) -> None:
    values, log_weights = np.array(case).T
    w, n = np.exp(log_weights), len(case)
    with jax.enable_x64(True):
        plain = jax.tree.map(np.asarray, compiled(False)(values, log_weights))
        ratio = jax.tree.map(np.asarray, compiled(True)(values, log_weights))
    np.testing.assert_allclose(plain.mean, (w * values).mean(), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(plain.standard_error, (w * values).std(ddof=1) / np.sqrt(n), rtol=1e-9, atol=1e-12)
    expected = (w * values).sum() / w.sum()
    np.testing.assert_allclose(ratio.mean, expected, rtol=1e-12, atol=1e-12)
    error = np.sqrt((w**2 * (values - expected) ** 2).sum()) / w.sum()
    np.testing.assert_allclose(ratio.standard_error, error, rtol=1e-9, atol=1e-12)
    for estimate in (plain, ratio):
        np.testing.assert_allclose(estimate.effective_sample_size, w.sum() ** 2 / (w**2).sum(), rtol=1e-12)
        assert 1 - 1e-12 <= estimate.effective_sample_size <= n * (1 + 1e-12)
        np.testing.assert_allclose(estimate.log_mean_weight, np.log(w.mean()), atol=1e-12)


@given(case=lists, factor=st.sampled_from([-5000.0, -700.0, 700.0, 5000.0]))
def test_a_factor_of_any_size_leaves_the_self_normalized_estimate(
    case: list[tuple[float, float]], factor: float
) -> None:
    values, log_weights = np.array(case).T
    with jax.enable_x64(True):
        here = jax.tree.map(np.asarray, compiled(True)(values, log_weights))
        there = jax.tree.map(np.asarray, compiled(True)(values, log_weights + factor))
    for a, b in zip(here[:3], there[:3], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(there.log_mean_weight - factor, here.log_mean_weight, atol=1e-11)


def test_a_small_tail_probability() -> None:
    # P(X > 4) = 3.1671242e-05 for a standard normal, by draws around 4. A correct estimate misses by 5.5 standard
    # errors with probability 4e-8.
    run = functools.partial(importance_sampling, tail, standard, shifted, draw_shifted)
    estimate = jax.jit(run, static_argnums=1)(jax.random.key(0), 400_000)
    assert abs(float(estimate.mean) - 3.1671242e-05) < 5.5 * float(estimate.standard_error)
    assert float(estimate.standard_error) < 2e-7


def test_a_target_that_is_not_normalized() -> None:
    # E[X²] = 1 under e³ times a standard normal, by draws twice as wide: 4e-8 again.
    run = functools.partial(
        importance_sampling,
        jnp.square,
        lambda x: standard(x) + 3.0,
        lambda x: standard(x / 2) - math.log(2),
        lambda key, shape: 2 * jax.random.normal(key, shape),
        self_normalized=True,
    )
    estimate = jax.jit(run, static_argnums=1)(jax.random.key(1), 100_000)
    assert abs(float(estimate.mean) - 1) < 5.5 * float(estimate.standard_error)
    assert float(estimate.standard_error) < 0.01
    np.testing.assert_allclose(estimate.log_mean_weight, 3.0, atol=0.02)
    # w² q integrates to 4/√7, so that (Σ w)² / Σ w² is N √7/4.
    np.testing.assert_allclose(estimate.effective_sample_size, 100_000 * np.sqrt(7) / 4, rtol=0.02)


def test_a_proposal_that_misses_mass_shows_in_the_mean_weight() -> None:
    estimate = importance_sampling(
        jnp.ones_like,
        standard,
        lambda x: jnp.where(x > 0, standard(x) + np.log(2), -jnp.inf),
        lambda key, shape: jnp.abs(jax.random.normal(key, shape)),
        jax.random.key(0),
        1000,
    )
    np.testing.assert_allclose(estimate.log_mean_weight, -np.log(2), rtol=1e-5)


def test_batches_and_dtype() -> None:
    rng = np.random.default_rng(0)
    values, log_weights = rng.normal(size=(2, 3, 5)).astype(np.float32), rng.normal(size=(2, 3, 5)).astype(np.float32)
    for self_normalized in (False, True):
        batch = compiled(self_normalized)(values, log_weights)
        one = compiled(self_normalized)(values[1, 2], log_weights[1, 2])
        for whole, part in zip(batch, one, strict=True):
            assert whole.shape == (2, 3)
            assert whole.dtype == jnp.float32
            np.testing.assert_allclose(whole[1, 2], part, rtol=1e-6)


def test_it_is_always_printed_in_scientific_notation() -> None:
    estimate = ImportanceEstimate(jnp.asarray(2.3883834e-06), jnp.asarray(1.2e-07), jnp.asarray(10.0), jnp.asarray(0.0))
    assert str(estimate) == "2.388383e-06 ± 1.20e-07"
    assert f"{estimate:.3e}" == "2.388e-06 ± 1.20e-07"
    assert f"{estimate}" == str(estimate)
    with pytest.raises(ConfigurationError, match=r"scientific notation, such as '.3e'; given '.6f'"):
        format(estimate, ".6f")
    several = jax.tree.map(lambda x: jnp.stack([x, 2 * x]), estimate)
    assert f"{several:.1e}" == "[2.4e-06 ± 1.20e-07, 4.8e-06 ± 2.40e-07]"


def test_weights_of_zero() -> None:
    values, none = jnp.asarray([jnp.inf, 2.0, 3.0]), jnp.full(3, -jnp.inf)
    estimate = importance_estimate(values, none.at[1].set(0.0))
    assert float(estimate.mean) == pytest.approx(2 / 3)
    assert float(estimate.effective_sample_size) == pytest.approx(1)
    nothing = importance_estimate(values, none)
    assert [float(x) for x in nothing] == [0, 0, 0, -jnp.inf]
    with pytest.raises(SupportError, match="all weights are zero"):
        importance_estimate(values, none, self_normalized=True)
    assert bool(jnp.isnan(compiled(True)(values, none).mean))


def test_mistakes_are_refused() -> None:
    ones, zeros = jnp.ones(3), jnp.zeros(3)
    with pytest.raises(SupportError, match="1 of 3 weights are infinite: the proposal has no mass"):
        importance_estimate(ones, zeros.at[0].set(jnp.inf))
    with pytest.raises(SupportError, match="infinite"):
        importance_sampling(tail, standard, lambda x: x * -jnp.inf, draw_shifted, jax.random.key(0), 10)
    with pytest.raises(DomainError, match="log_weights has 1 NaN"):
        importance_estimate(ones, zeros.at[0].set(jnp.nan))
    with pytest.raises(DomainError, match="values has 1 NaN"):
        importance_estimate(ones.at[0].set(jnp.nan), zeros)
    with pytest.raises(DomainError, match="an infinite value has a positive weight"):
        importance_estimate(ones.at[0].set(jnp.inf), zeros)
    with pytest.raises(EventShapeError, match=r"given \(3,\) and \(2,\)"):
        importance_estimate(ones, jnp.zeros(2))
    with pytest.raises(EventShapeError, match="at least two draws"):
        importance_estimate(jnp.ones(1), jnp.zeros(1))
