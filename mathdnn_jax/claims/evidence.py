"""What the properties of maps have in common: random cases, full Jacobians, and comparisons that say their numbers."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np

from mathdnn_jax.bijectors import Bijector, Params
from mathdnn_jax.testing.determinant import log_abs_det

EPS = float(np.finfo(np.float64).eps)

seeds = st.integers(0, 2**31 - 1)
"""Of the parameters and the events of one case."""

scales = st.sampled_from([1.0, 0.1, 2.0])
"""Standard deviation of the parameters, relative to one over the root of a layer's inputs."""


def random_params(bijector: Bijector, seed: int, scale: float = 1.0) -> Params:
    """Float64 parameters of the map's own structure: normal, of standard deviation scale / √inputs."""
    rng = np.random.default_rng(seed)

    def draw(leaf: jax.ShapeDtypeStruct) -> jax.Array:
        inputs = int(np.prod(leaf.shape[:-1])) if len(leaf.shape) > 1 else 1
        return jnp.asarray(scale * rng.normal(size=leaf.shape) / np.sqrt(inputs))

    return jax.tree.map(draw, _shapes(bijector))


@functools.cache
def _shapes(bijector: Bijector) -> Params:
    return jax.eval_shape(bijector.init, jax.random.key(0))


def random_event(shape: tuple[int, ...], seed: int) -> jax.Array:
    """A standard normal event, independent of the parameters of the same seed."""
    return jnp.asarray(np.random.default_rng((seed, 1)).normal(size=shape))


@functools.cache
def _compiled(function: Callable[..., tuple[jax.Array, jax.Array]]) -> Callable[..., Any]:
    def both(params: Params, x: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        z, log_det = function(params, x)
        return z, log_det, jax.jacfwd(lambda x: function(params, x)[0])(x).reshape(z.size, x.size)

    return jax.jit(both)


@functools.cache
def _inverse(bijector: Bijector) -> Callable[..., tuple[jax.Array, jax.Array]]:
    return jax.jit(bijector.inverse)


def with_jacobian(
    function: Callable[..., tuple[jax.Array, jax.Array]], params: Params, x: jax.Array
) -> tuple[jax.Array, float, np.ndarray]:
    """(f(x), the log-det that f reports, the full Jacobian of the flattened event), compiled once a function."""
    z, log_det, jacobian = _compiled(function)(params, x)
    return z, float(log_det), np.asarray(jacobian)


def check_equal(what: str, given: Any, expected: Any, bound: float) -> None:
    """Check that two numbers, or arrays, differ by at most `bound`, else raise AssertionError with the numbers."""
    given, expected = np.asarray(given), np.asarray(expected)
    difference = float(np.max(np.abs(given - expected), initial=0.0))
    # Written so that NaN fails.
    if not difference <= bound:
        if given.size == 1:
            said = f"{given.item():.12g} against {expected.item():.12g}"
        else:
            said = f"arrays of shape {given.shape}"
        raise AssertionError(f"{what}: {said}, difference {difference:.3g}, at most {bound:.3g} by rounding")


def check_log_det(bijector: Bijector, params: Params, x: jax.Array) -> np.ndarray:
    """Check the reported log-det against log|det J| of the full Jacobian, to rounding at its condition; return that."""
    _, log_det, jacobian = with_jacobian(bijector.forward, params, x)
    condition = np.linalg.cond(jacobian)
    bound = 64 * EPS * jacobian.shape[0] * (condition + abs(log_det))
    check_equal("log-det against the full Jacobian's", log_det, log_abs_det(jacobian)[1], bound)
    return jacobian


def check_inverse(bijector: Bijector, params: Params, x: jax.Array) -> None:
    """Check f⁻¹(f(x)) = x and that the two log-dets cancel, to rounding at the condition of the Jacobian."""
    z, log_det, jacobian = with_jacobian(bijector.forward, params, x)
    back, inverse_log_det = _inverse(bijector)(params, z)
    size = 1 + float(np.abs(x).max()) + float(np.abs(z).max())
    bound = 64 * EPS * jacobian.shape[0] * np.linalg.cond(jacobian) * size
    check_equal("inverse of the image", back, x, bound)
    check_equal("sum of the two log-dets", log_det + float(inverse_log_det), 0.0, bound * (1 + abs(log_det)))
