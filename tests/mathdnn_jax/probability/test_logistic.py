from __future__ import annotations

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from scipy import stats

from mathdnn_jax.errors import EventShapeError
from mathdnn_jax.probability import logistic, logistic_log_density, logistic_sample

from ...drawn import normal

finite = st.floats(-700, 700, allow_subnormal=False)


@given(z=finite)
def test_density_is_scipys(z: float) -> None:
    with jax.enable_x64(True):
        np.testing.assert_allclose(logistic_log_density(jnp.asarray(z)), stats.logistic.logpdf(z), rtol=1e-14)


@given(z=finite)
def test_derivative_is_minus_tanh(z: float) -> None:
    with jax.enable_x64(True):
        derivative = jax.grad(logistic_log_density)(jnp.asarray(z))
        np.testing.assert_allclose(derivative, -np.tanh(z / 2), rtol=1e-14, atol=1e-300)


def test_derivatives_at_the_kink_of_the_absolute_value() -> None:
    with jax.enable_x64(True):
        zero = jnp.zeros(())
        for derivative, expected in ((jax.grad, 0), (jax.hessian, -0.5), (jax.jacfwd, 0)):
            assert float(jax.jit(derivative(logistic_log_density))(zero)) == expected


def test_density_is_finite_for_all_float32() -> None:
    extreme = np.array([np.finfo(np.float32).max, np.finfo(np.float32).tiny, 0.0, 100.0, 1e4], np.float32)
    density, slope = jax.jit(logistic_log_density), jax.jit(jax.vmap(jax.grad(logistic_log_density)))
    assert np.isfinite([density(extreme), density(-extreme), slope(extreme)]).all()


def test_log_prob_sums_over_the_event_alone() -> None:
    prior = logistic((2, 3))
    z = normal(5, 2, 3)
    np.testing.assert_allclose(jax.jit(prior.log_prob)(z), stats.logistic.logpdf(z).sum((1, 2)), rtol=1e-5)
    with pytest.raises(EventShapeError, match=r"on events of shape \(2, 3\), given an array of shape \(5, 3, 2\)"):
        prior.log_prob(normal(5, 3, 2))
    with pytest.raises(EventShapeError, match="on events"):
        prior.log_prob(normal(3))


def test_samples_are_logistic() -> None:
    sample = jax.jit(logistic_sample, static_argnums=1)
    values = np.asarray(sample(jax.random.key(0), (200_000,)))
    assert np.isfinite(values).all()
    assert stats.kstest(values, stats.logistic.cdf).pvalue > 1e-6
    assert jax.eval_shape(lambda: logistic((2,)).sample(jax.random.key(0), (3,), jnp.float32)).shape == (3, 2)


def test_the_ends_of_the_grid_are_finite_and_opposite(monkeypatch: pytest.MonkeyPatch) -> None:
    ends = np.array([0, 1 - 2.0**-23], np.float32)
    monkeypatch.setattr(jax.random, "uniform", lambda *_: jnp.asarray(ends))
    low, high = np.asarray(logistic_sample(jax.random.key(0), (2,)))
    assert low == -high
    np.testing.assert_allclose(high, np.log(2.0**24 - 1), rtol=1e-6)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16, jnp.float32])
def test_every_floating_type_can_be_sampled(dtype: jnp.dtype) -> None:
    values = jax.jit(logistic_sample, static_argnums=(1, 2))(jax.random.key(0), (1000,), dtype)
    assert values.dtype == dtype
    assert np.isfinite(np.asarray(values, np.float32)).all()
