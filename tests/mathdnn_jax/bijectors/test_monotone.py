from __future__ import annotations

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from mathdnn_jax.bijectors import monotone_inverse
from mathdnn_jax.bijectors.float_order import float_of_rank, middle, rank
from mathdnn_jax.bijectors.monotone import Function
from mathdnn_jax.errors import ConfigurationError

newton = pytest.mark.parametrize("newton", [0, 10])
dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def cubic(theta: jax.Array, x: jax.Array) -> jax.Array:
    return x**3 + jnp.exp(theta) * x


def bounded(theta: jax.Array, x: jax.Array) -> jax.Array:
    return jnp.tanh(theta * x)


cubed = jax.jit(cubic)


@functools.cache
def solver(function: Function, **options: float) -> Callable[..., tuple[jax.Array, jax.Array]]:
    return jax.jit(lambda theta, z: monotone_inverse(function, theta, z, **options))  # type: ignore[arg-type]


@dtypes
@newton
def test_the_root_is_the_last_float(dtype: type, newton: int) -> None:
    with jax.enable_x64(True):
        z: np.ndarray = np.array([-1e30, -1e6, -17.0, -1.0, -1e-20, 0.0, 1e-30, 0.3, 2.0, 1e9, 1e30], dtype)
        theta = dtype(0.7)
        x, found = map(np.asarray, solver(cubic, newton=newton)(theta, z))
        assert x.dtype == dtype
        assert found.all()
        off = np.abs(cubed(theta, x) - z)
        for side in (-np.inf, np.inf):
            beside = np.nextafter(x, side, dtype=dtype)
            assert (off <= np.abs(cubed(theta, beside) - z)).all()


@dtypes
@newton
def test_newton_and_a_bad_bracket_change_nothing(dtype: type, newton: int) -> None:
    with jax.enable_x64(True):
        z: np.ndarray = np.array([-5.0, 0.1, 3.0], dtype)
        theta = dtype(0.0)
        expected, _ = solver(cubic)(theta, z)
        lower: np.ndarray = np.array([-1.0, 1e-6, 100.0, -1e10, 1.0, 0.5], dtype)[:, None]
        upper: np.ndarray = np.array([1.0, 2e-6, 101.0, -1e9, -1.0, 0.5], dtype)[:, None]
        repeated = np.tile(z, (6, 1))
        x, found = jax.jit(lambda z: monotone_inverse(cubic, theta, z, lower=lower, upper=upper, newton=newton))(
            repeated
        )
        assert found.all()
        np.testing.assert_array_equal(x, np.broadcast_to(expected, (6, 3)))


@dtypes
@newton
def test_outside_the_range_there_is_nan_and_never_an_end(dtype: type, newton: int) -> None:
    with jax.enable_x64(True):
        z: np.ndarray = np.array([-np.inf, -1.5, -0.5, np.nan, 0.9, 1.01, 7.0, np.inf], dtype)
        x, found = map(np.asarray, solver(bounded, newton=newton, lower=-3.0, upper=3.0)(dtype(2.0), z))
        np.testing.assert_array_equal(found, [False, False, True, False, True, False, False, False])
        np.testing.assert_allclose(x, np.where(found, np.arctanh(np.where(found, z, 0)) / 2, np.nan), rtol=4e-7)


def test_erratum_4_bisection_on_a_fixed_bracket_returns_its_end() -> None:
    low, high = -3.0, 3.0
    for _ in range(30):
        centre = (low + high) / 2
        low, high = (centre, high) if np.tanh(centre) < 1.5 else (low, centre)
    assert abs(low - 3.0) < 1e-8
    x, found = monotone_inverse(bounded, jnp.float32(1), jnp.float32(1.5))
    assert not found
    assert np.isnan(x)


def test_derivatives_of_the_first_two_orders_in_z_and_in_the_parameters() -> None:
    with jax.enable_x64(True):
        z = np.array([-4.0, -0.2, 0.0, 1.5, 30.0])
        theta = np.array([0.3, -1.0, 0.5, 0.0, 1.0])
        # Against central differences, forward and reverse, first and second order.
        solve = solver(cubic)
        check_grads(lambda theta, z: solve(theta, z)[0], (theta, z), order=2, atol=1e-5, rtol=1e-5)
        x = solve(theta, z)[0]
        jacobians = jax.jit(jax.jacfwd(lambda theta, z: monotone_inverse(cubic, theta, z)[0], (0, 1)))(theta, z)
        np.testing.assert_allclose(jacobians, by_hand(theta, x), rtol=1e-13)


@jax.jit
def by_hand(theta: jax.Array, x: jax.Array) -> jax.Array:
    """The derivatives of the cubic's root in JAX, since NumPy does not flush the least floats to zero as XLA does."""
    slope = 3 * x**2 + jnp.exp(theta)
    return jnp.stack([jnp.diag(-jnp.exp(theta) * x / slope), jnp.diag(1 / slope)])


def test_derivatives_in_a_tree_of_parameters_with_integers_in_it() -> None:
    def function(params: dict[str, jax.Array], x: jax.Array) -> jax.Array:
        return x * jnp.exp(params["log_scale"]) + x * params["times"].astype(x.dtype)

    params = {"log_scale": jnp.float32(0.0), "times": jnp.int32(3)}

    def root(params: dict[str, jax.Array]) -> jax.Array:
        return monotone_inverse(function, params, jnp.float32(2.0))[0]

    gradient = jax.jit(jax.grad(root, allow_int=True))(params)
    # x = 2 / (e^s + 3).
    np.testing.assert_allclose(gradient["log_scale"], -2 / 16, rtol=1e-6)


def test_a_root_that_is_not_found_does_not_spoil_the_gradient_of_the_others() -> None:
    z = jnp.asarray([0.5, 1.5, jnp.nan])

    def loss(theta: jax.Array, z: jax.Array) -> jax.Array:
        x, found = monotone_inverse(bounded, theta, z)
        return jnp.where(found, x, 0).sum()

    along_theta, along_z = jax.jit(jax.grad(loss, (0, 1)))(jnp.float32(2.0), z)
    np.testing.assert_allclose(along_theta, -np.arctanh(0.5) / 4, rtol=1e-6)
    np.testing.assert_allclose(along_z, [1 / (2 * 0.75), 0, 0], rtol=1e-6)


@newton
def test_a_decreasing_function(newton: int) -> None:
    with jax.enable_x64(True):
        z = np.array([0.01, 0.5, 2.0, 1e10, -1.0])
        options = {"decreasing": True, "newton": newton}
        x, found = solver(lambda theta, x: jnp.exp(-theta * x), **options)(2.0, z)
        np.testing.assert_array_equal(found, [True, True, True, True, False])
        np.testing.assert_allclose(np.asarray(x)[:4], -np.log(z[:4]) / 2, rtol=1e-14)
        slope = jax.jit(jax.grad(lambda z: monotone_inverse(cubic_down, 0.0, z, decreasing=True, newton=newton)[0]))(
            2.0
        )
        np.testing.assert_allclose(slope, -1 / 4, rtol=1e-13)


def cubic_down(theta: jax.Array, x: jax.Array) -> jax.Array:
    return -cubic(theta, x)


def test_functions_that_show_that_they_are_not_increasing_are_not_found() -> None:
    z = np.array([0.3, -0.2], np.float32)
    for function in (cubic_down, lambda theta, x: theta * jnp.nan + x, lambda theta, x: jnp.sqrt(x + theta)):
        x, found = solver(function)(np.float32(0), z)
        assert not found.any()
        assert np.isnan(x).all()


def test_vmap_jit_and_any_shape() -> None:
    z = np.linspace(-3.0, 3.0, 6, dtype=np.float32).reshape(2, 3)
    theta = np.array([[0.1], [0.9]], np.float32)
    x, found = solver(cubic)(theta, z)
    assert found.shape == x.shape == (2, 3)
    mapped = jax.jit(jax.vmap(jax.vmap(lambda t, z: monotone_inverse(cubic, t, z)[0], (None, 0))))(theta[:, 0], z)
    np.testing.assert_allclose(mapped, x, rtol=2e-7)
    assert solver(cubic)(np.float32(0), np.zeros((0, 2), np.float32))[0].shape == (0, 2)


@pytest.mark.parametrize(
    ("function", "z", "options", "words"),
    [
        (cubic, jnp.zeros(2, jnp.int32), {}, "float32 and float64, given int32"),
        (cubic, jnp.zeros(2, jnp.float16), {}, "given float16"),
        (cubic, jnp.zeros(2), {"newton": -1}, "newton=-1"),
        (lambda theta, x: x.sum() + theta, jnp.zeros(2), {}, r"shape \(2,\).*returned \(\)"),
    ],
)
def test_functions_and_arguments_that_do_not_fit_are_refused(
    function: Function, z: jax.Array, options: dict[str, int], words: str
) -> None:
    with pytest.raises(ConfigurationError, match=words):
        monotone_inverse(function, jnp.float32(0), z, **options)  # type: ignore[arg-type]


@dtypes
def test_ranks_count_floats(dtype: type) -> None:
    with jax.enable_x64(True):
        numbers = np.finfo(dtype)
        values = [-numbers.max, -1.0, -1e-30, -0.0, 0.0, numbers.tiny, 0.1, 1.0, np.pi, numbers.max]
        x: np.ndarray = np.array(values, dtype)
        ranks = np.asarray(jax.jit(rank)(x))
        assert (np.diff(ranks) >= 0).all()
        of_rank = jax.jit(functools.partial(float_of_rank, dtype=x.dtype))
        np.testing.assert_array_equal(of_rank(ranks), x)
        # Of the last of all the next would be infinite.
        ahead = np.asarray(of_rank(ranks + np.array([0, *[1] * 8, 0], ranks.dtype)))
        np.testing.assert_array_equal(ahead[5:-1], np.nextafter(x[5:-1], np.inf, dtype=dtype))
        between = jax.jit(middle)
        assert int(between(ranks[0], ranks[-1])) == 0
        assert int(between(ranks[-1], ranks[-1] - 2)) == int(ranks[-1]) - 1


@pytest.mark.parametrize("newton", [0, 4])
@pytest.mark.parametrize(("low", "high"), [(0.25, 0.75), (0.5, 0.5)])
def test_a_root_next_to_nan_is_not_found(low: float, high: float, newton: int) -> None:
    """The identity without its values on [low, high]: a search that runs into the hole may give up, but not lie."""
    with jax.enable_x64(True):
        z = jnp.asarray([-0.5, 0.3, 0.5, 0.7, 2.0])
        x, found = monotone_inverse(
            lambda _, x: jnp.where((x >= low) & (x <= high), jnp.nan, x), (), z, lower=-4.0, upper=5.0, newton=newton
        )
    inside = (np.asarray(z) >= low) & (np.asarray(z) <= high)
    assert inside.any()
    assert found[0]
    assert not np.asarray(found)[inside].any()
    np.testing.assert_array_equal(x, np.where(found, z, np.nan))
