from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from mathdnn_jax.bijectors import Params, mixture_cdf
from mathdnn_jax.errors import ConfigurationError, MathdnnError, OutOfRangeError, ParameterStructureError

from ...drawn import drawn

EPS = float(np.finfo(np.float64).eps)
both = pytest.mark.parametrize("normalised", [False, True])


@functools.cache
def compiled(components: int, normalised: bool) -> tuple[Any, Any]:
    made = mixture_cdf(components, normalised)
    return jax.jit(made.forward), jax.jit(made.inverse)


def parameters(mean: list[float], scale: list[float], weight: list[float], dtype: type = np.float64) -> Params:
    logs = np.log(np.asarray(scale)), np.log(np.asarray(weight))
    return {
        name: jnp.asarray(value, dtype)
        for name, value in zip(("mean", "log_scale", "weight_logits"), (mean, *logs), strict=True)
    }


# Weights e^±10 and scales from 1e-3 to 1e3 in one mixture.
WILD = ([-2.0, 0.5, 300.0], [1e-3, 1.0, 1e3], [np.exp(10), np.exp(-10), 1.0])


def test_the_map_of_the_course_is_the_weighted_sum() -> None:
    with jax.enable_x64(True):
        mean, scale, weight = np.asarray([-1.0, 0.2, 1.5]), np.asarray([0.3, 1.0, 2.0]), np.asarray([0.5, 1.0, 3.0])
        x = np.linspace(-4, 4, 9)
        z, log_det = compiled(3, False)[0](parameters(*map(list, (mean, scale, weight))), jnp.asarray(x))  # type: ignore[arg-type]
        a = (x[:, None] - mean) / scale
        np.testing.assert_allclose(z, (weight * (special.ndtr(a) - 0.5)).sum(-1), rtol=1e-14)
        slope = (weight * np.exp(-a * a / 2) / np.sqrt(2 * np.pi) / scale).sum(-1)
        np.testing.assert_allclose(log_det, np.log(slope), rtol=1e-13)


def test_the_normalised_map_is_the_quantile_of_the_mixture() -> None:
    with jax.enable_x64(True):
        mean, scale, weight = np.asarray([-1.0, 0.2, 1.5]), np.asarray([0.3, 1.0, 2.0]), np.asarray([0.5, 1.0, 3.0])
        x = np.linspace(-4, 4, 9)
        z, log_det = compiled(3, True)[0](parameters(*map(list, (mean, scale, weight))), jnp.asarray(x))  # type: ignore[arg-type]
        a, share = (x[:, None] - mean) / scale, weight / weight.sum()
        expected = special.ndtri((share * special.ndtr(a)).sum(-1))
        np.testing.assert_allclose(z, expected, rtol=1e-12)
        density = (share * np.exp(-a * a / 2) / scale).sum(-1)
        np.testing.assert_allclose(log_det, np.log(density) + expected**2 / 2, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_one_normalised_component_is_affine_however_far_out(dtype: type) -> None:
    eps = float(np.finfo(dtype).eps)
    with jax.enable_x64(True):
        params = parameters([0.5], [2.0], [7.0], dtype)
        x = jnp.asarray([-1e8, -1e3, -40.0, -1.0, 0.5, 3.0, 60.0, 1e5, 1e8], dtype)
        z, log_det = compiled(1, True)[0](params, x)
        # log σ is a parameter, and its rounding error is relative to log 2.
        np.testing.assert_allclose(z, (np.asarray(x) - 0.5) / 2, rtol=8 * eps, atol=4 * eps)
        np.testing.assert_allclose(log_det, -np.log(2), rtol=0, atol=32 * eps)
        back, inverse_log_det = compiled(1, True)[1](params, z)
        np.testing.assert_allclose(back, x, rtol=16 * eps, atol=16 * eps)
        np.testing.assert_allclose(inverse_log_det, np.log(2), rtol=0, atol=32 * eps)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_both_tails_of_a_wild_mixture_invert(dtype: type) -> None:
    with jax.enable_x64(True):
        params = parameters(*WILD, dtype)
        z = jnp.asarray([-200.0, -37.0, -9.0, -5.0, -1.0, 0.0, 1.0, 5.0, 9.0, 37.0, 200.0], dtype)
        x, inverse_log_det = compiled(3, True)[1](params, z)
        assert np.isfinite(x).all()
        assert (np.diff(x) > 0).all()
        again, log_det = compiled(3, True)[0](params, x)
        # x is correct to half a float, which z shows multiplied by dz/dx; the levels themselves are rounded.
        bound = 16 * np.finfo(dtype).eps * (1 + np.abs(z) + np.abs(x) * np.exp(np.minimum(log_det, 50)))
        assert (np.abs(again - z) <= bound).all()
        np.testing.assert_array_equal(inverse_log_det, -log_det)


@both
def test_gradients_are_finite_and_right_through_the_inverse(normalised: bool) -> None:
    with jax.enable_x64(True):
        params = parameters([-1.0, 0.2, 1.5], [0.3, 1.0, 2.0], [0.5, 1.0, 3.0])
        z = jnp.asarray([-1.2, 0.0, 0.7])
        made = mixture_cdf(3, normalised)
        loss = jax.jit(
            jax.value_and_grad(lambda params, z: sum(map(jnp.sum, made.inverse(params, jnp.sin(z)))), (0, 1))
        )
        _, gradient = loss(params, z)
        step = 1e-6
        leaves, structure = jax.tree.flatten(jax.tree.map(np.asarray, (params, z)))
        for k, (leaf, slopes) in enumerate(zip(leaves, jax.tree.leaves(gradient), strict=True)):
            direction = np.asarray([0.3, -1.0, 0.5])
            moved = [
                loss(*jax.tree.unflatten(structure, [*leaves[:k], leaf + sign * step * direction, *leaves[k + 1 :]]))[0]
                for sign in (1, -1)
            ]
            np.testing.assert_allclose(slopes @ direction, (moved[0] - moved[1]) / (2 * step), rtol=1e-7, atol=1e-8)


def test_values_outside_the_range_of_the_course_are_refused_by_name() -> None:
    made = mixture_cdf(2)
    params = parameters([0.0, 1.0], [1.0, 1.0], [1.0, 0.5], np.float32)
    z = jnp.asarray([0.1, 0.75, -0.75, 3.0, jnp.nan])
    with pytest.raises(OutOfRangeError, match=r"4 of 5 values.*normalised=True") as raised:
        made.inverse(params, z)
    assert "(−0.75, 0.75)" in str(raised.value)
    assert isinstance(raised.value, MathdnnError)
    x, log_det = compiled(2, False)[1](params, z)
    np.testing.assert_array_equal(np.isnan(x), [False, True, True, True, True])
    np.testing.assert_array_equal(np.isnan(log_det), np.isnan(x))
    mapped, _ = jax.jit(jax.vmap(made.inverse, (None, 0)))(params, z)
    np.testing.assert_array_equal(mapped, x)


@both
def test_the_initial_parameters_are_those_of_the_course(normalised: bool) -> None:
    params = jax.jit(mixture_cdf(4, normalised).init)(jax.random.key(0))
    np.testing.assert_array_equal(params["log_scale"], np.zeros(4))
    np.testing.assert_array_equal(params["weight_logits"], np.ones(4))
    assert len(np.unique(params["mean"])) == 4


@pytest.mark.parametrize("components", [0, -1])
def test_a_mixture_of_nothing_is_refused(components: int) -> None:
    with pytest.raises(ConfigurationError, match=f"components={components}"):
        mixture_cdf(components)


@both
def test_parameters_of_another_mixture_are_refused(normalised: bool) -> None:
    made = mixture_cdf(3, normalised)
    params = drawn(made.init)
    for wrong in (drawn(mixture_cdf(4).init), {**params, "scale": params["mean"]}, {}):
        for function in (made.forward, made.inverse):
            with pytest.raises(ParameterStructureError, match=r"3 components expects mean, log_scale, weight_logits"):
                jax.eval_shape(function, wrong, np.zeros((), np.float32))
