"""What the properties of maps share: random cases, full Jacobians, and the two checks that every map must pass."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np

from mathdnn_jax.bijectors import Bijector, Params
from mathdnn_jax.claims.evidence import EPS, check_equal
from mathdnn_jax.testing.determinant import log_abs_det

scales = st.sampled_from([1.0, 0.1, 2.0])
"""Standard deviations of parameters, relative to 1/√(number of a layer's inputs)."""


class Case(NamedTuple):
    """A map with parameters and an event."""

    bijector: Bijector
    params: Params
    x: jax.Array


def random_case(bijector: Bijector, event_shape: tuple[int, ...], seed: int, scale: float = 1.0) -> Case:
    """The map with random parameters and a standard normal event, independent of each other."""
    return Case(bijector, random_params(bijector, seed, scale), random_event(event_shape, seed))


def random_params(bijector: Bijector, seed: int, scale: float = 1.0) -> Params:
    """Float64 parameters with the map's structure: normal, with standard deviation scale/√inputs."""
    rng = np.random.default_rng(seed)

    def draw(leaf: jax.ShapeDtypeStruct) -> jax.Array:
        inputs = int(np.prod(leaf.shape[:-1])) if len(leaf.shape) > 1 else 1
        return jnp.asarray(scale * rng.normal(size=leaf.shape) / np.sqrt(inputs))

    return jax.tree.map(draw, _shapes(bijector))


@functools.cache
def _shapes(bijector: Bijector) -> Params:
    return jax.eval_shape(bijector.init, jax.random.key(0))


def random_event(shape: tuple[int, ...], seed: int) -> jax.Array:
    """A standard normal event, independent of the parameters drawn with the same seed."""
    return jnp.asarray(np.random.default_rng((seed, 1)).normal(size=shape))


@functools.cache
def _compiled(bijector: Bijector) -> Callable[..., Any]:
    def both(params: Params, x: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        z, log_det = bijector.forward(params, x)
        return z, log_det, jax.jacfwd(lambda x: bijector.forward(params, x)[0])(x).reshape(z.size, x.size)

    return jax.jit(both)


@functools.cache
def _inverse(bijector: Bijector) -> Callable[..., tuple[jax.Array, jax.Array]]:
    return jax.jit(bijector.inverse)


def with_jacobian(bijector: Bijector, params: Params, x: jax.Array) -> tuple[jax.Array, float, np.ndarray]:
    """(f(x), the log-det that f reports, the full Jacobian of the flattened event); compiled once for each map."""
    z, log_det, jacobian = _compiled(bijector)(params, x)
    return z, float(log_det), np.asarray(jacobian)


def check_log_det(bijector: Bijector, params: Params, x: jax.Array) -> np.ndarray:
    """Check the reported log-det against that of the full Jacobian, up to rounding at the Jacobian's condition.

    Returns:
        The Jacobian.
    """
    _, log_det, jacobian = with_jacobian(bijector, params, x)
    condition = np.linalg.cond(jacobian)
    bound = 64 * EPS * jacobian.shape[0] * (condition + abs(log_det))
    check_equal("reported log-det against that of the full Jacobian", log_det, log_abs_det(jacobian)[1], bound)
    return jacobian


def check_inverse(bijector: Bijector, params: Params, x: jax.Array) -> None:
    """Check that f⁻¹(f(x)) = x and that the two log-dets cancel, up to rounding at the Jacobian's condition."""
    z, log_det, jacobian = with_jacobian(bijector, params, x)
    back, inverse_log_det = _inverse(bijector)(params, z)
    size = 1 + float(np.abs(x).max()) + float(np.abs(z).max())
    bound = 64 * EPS * jacobian.shape[0] * np.linalg.cond(jacobian) * size
    check_equal("inverse of the image", back, x, bound)
    check_equal("sum of the two log-dets", log_det + float(inverse_log_det), 0.0, bound * (1 + abs(log_det)))
