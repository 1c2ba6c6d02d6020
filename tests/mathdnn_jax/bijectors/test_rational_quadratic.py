from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mathdnn_jax.bijectors import monotone_inverse, rational_quadratic_coupling
from mathdnn_jax.bijectors.rational_quadratic import spline, spline_forward, spline_inverse
from mathdnn_jax.errors import ConfigurationError
from mathdnn_jax.nets import MLP

from ...drawn import drawn

EPS = float(np.finfo(np.float64).eps)
BOUND = 3.0


def forward(unconstrained: jax.Array, x: jax.Array) -> tuple[jax.Array, jax.Array]:
    return spline_forward(spline(unconstrained, BOUND, 1e-3, 1e-3), x, BOUND)


def inverse(unconstrained: jax.Array, y: jax.Array) -> tuple[jax.Array, jax.Array]:
    return spline_inverse(spline(unconstrained, BOUND, 1e-3, 1e-3), y, BOUND)


@functools.cache
def compiled() -> tuple[Any, Any, Any]:
    slope = jax.vmap(jax.vmap(jax.grad(lambda u, x: forward(u, x)[0], 1)))
    return jax.jit(forward), jax.jit(inverse), jax.jit(slope)


def splines(bins: int, scale: float, seed: int, points: int = 200) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    u = scale * rng.normal(size=(6, 1, 3 * bins - 1))
    return np.broadcast_to(u, (6, points, 3 * bins - 1)), rng.uniform(-4, 4, (6, points))


@pytest.mark.parametrize("bins", [1, 2, 8])
@pytest.mark.parametrize("scale", [0.5, 2.0, 10.0])
def test_the_slope_and_the_inverse(bins: int, scale: float) -> None:
    with jax.enable_x64(True):
        run, back, slope = compiled()
        u, x = splines(bins, scale, bins)
        y, log_slope = map(np.asarray, run(u, x))
        # Slopes from 1e-3 to 1e3 between knots; near a steep knot one float of x moves the slope by that much.
        np.testing.assert_allclose(np.exp(log_slope), slope(u, x), rtol=1e-9)
        again, inverse_log_slope = map(np.asarray, back(u, y))
        steep = np.exp(-log_slope)
        assert (np.abs(again - x) <= 32 * EPS * BOUND * (1 + steep)).all()
        np.testing.assert_allclose(inverse_log_slope, -log_slope, rtol=0, atol=1e-7)


def test_the_closed_inverse_is_the_numerical_one() -> None:
    with jax.enable_x64(True):
        u, y = splines(8, 2.0, 0)
        solve = jax.jit(lambda u, y: monotone_inverse(lambda u, x: forward(u, x)[0], u, y))
        expected, found = map(np.asarray, solve(u, y))
        assert found.all()
        x, log_slope = map(np.asarray, compiled()[1](u, y))
        assert (np.abs(x - expected) <= 32 * EPS * BOUND * (1 + np.exp(log_slope))).all()


def test_zeros_are_the_identity() -> None:
    x = np.linspace(-4.0, 4.0, 41, dtype=np.float32)
    y, log_slope = compiled()[0](np.zeros((41, 23), np.float32), x)
    np.testing.assert_allclose(y, x, rtol=0, atol=2e-6)
    np.testing.assert_allclose(log_slope, 0, atol=2e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_knots_edges_and_the_outside(dtype: type) -> None:
    eps = float(np.finfo(dtype).eps)
    run, back, _ = compiled()
    with jax.enable_x64(True):
        u: np.ndarray = np.random.default_rng(1).normal(size=11).astype(dtype)
        knots = jax.tree.map(np.asarray, jax.jit(lambda u: spline(u, BOUND, 1e-3, 1e-3))(u))
        ends = np.append(knots.left, dtype(BOUND)), np.append(knots.bottom, dtype(BOUND))
        slopes = np.append(knots.slope, dtype(1))
        repeated = np.tile(u, (5, 1))
        for side in (-np.inf, None, np.inf):
            x = ends[0] if side is None else np.nextafter(ends[0], dtype(side), dtype=dtype)
            y, log_slope = run(repeated, x)
            np.testing.assert_allclose(y, ends[1], rtol=64 * eps, atol=64 * eps)
            np.testing.assert_allclose(np.exp(log_slope), slopes, rtol=1e4 * eps)
        beyond: np.ndarray = np.array([-1e30, -3.0, 3.0, 5.0, 1e30], dtype)
        for function in (run, back):
            y, log_slope = function(repeated, beyond)
            np.testing.assert_array_equal(y, beyond)
            np.testing.assert_array_equal(log_slope, 0)


def test_the_order_of_floats_is_kept() -> None:
    x = np.linspace(-3.1, 3.1, 20001, dtype=np.float32)
    u = (5 * np.random.default_rng(2).normal(size=23)).astype(np.float32)
    y, _ = compiled()[0](np.broadcast_to(u, (20001, 23)), x)
    assert (np.diff(y) >= -4e-7).all()


@pytest.mark.parametrize("scale", [1.0, 100.0])
def test_gradients_are_finite_everywhere(scale: float) -> None:
    u = (scale * np.random.default_rng(3).normal(size=11)).astype(np.float32)
    for slopes in jax.tree.leaves(gradients()(u)):
        assert np.isfinite(slopes).all()


@functools.cache
def gradients() -> Any:
    """Gradients of the spline and of its inverse, at the knots and at points inside and outside the box."""

    def all_of_them(u: jax.Array) -> Any:
        knots = spline(u, BOUND, 1e-3, 1e-3)
        x = jnp.concatenate([knots.left, knots.bottom, jnp.asarray([-1e30, -3.0, 0.0, 3.0, 7.0, 1e30])])

        def loss(u: jax.Array, x: jax.Array, function: Any) -> jax.Array:
            y, log_slope = function(u, x)
            return jnp.asarray(jnp.tanh(y) + log_slope)

        slopes = jax.vmap(jax.grad(loss, (0, 1)), (None, 0, None))
        return [slopes(u, x, jax.tree_util.Partial(function)) for function in (forward, inverse)]

    return jax.jit(all_of_them)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"bins": 0}, "bins=0"),
        ({"bound": 0.0}, r"bound=0\.0"),
        ({"bound": float("nan")}, "bound=nan"),
        ({"bound": float("inf")}, "bound=inf"),
        ({"minimum_bin": 0.125}, r"minimum_bin=0\.125"),
        ({"minimum_bin": 0.0}, r"minimum_bin=0\.0"),
        ({"minimum_slope": 1.0}, r"minimum_slope=1\.0"),
        ({"minimum_slope": float("nan"), "bins": -1}, r"bins=-1.*minimum_slope=nan"),
    ],
)
def test_impossible_splines_are_refused(wrong: dict[str, float], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        rational_quadratic_coupling(MLP((23,)), np.array([True, False]), **wrong)  # type: ignore[arg-type]


def test_a_conditioner_of_another_width_is_refused() -> None:
    made = rational_quadratic_coupling(MLP((24,)), np.array([True, False]))
    with pytest.raises(ConfigurationError, match=r"shape \(23,\), 23 for each of 1 moved entries"):
        jax.eval_shape(made.forward, drawn(made.init), np.zeros(2, np.float32))


def test_kept_entries_and_the_outside_pass_unchanged() -> None:
    made = rational_quadratic_coupling(MLP((46,)), np.array([True, False, True, False]))
    x = np.array([9.0, -7.25, 1e-3, 3.0], np.float32)
    z, log_det = jax.jit(made.forward)(drawn(made.init), x)
    np.testing.assert_array_equal(z, x)
    assert float(log_det) == 0
