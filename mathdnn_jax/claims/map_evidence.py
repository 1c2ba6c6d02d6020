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
from mathdnn_jax.claims.evidence import EPS, UNDECIDED, Undecided, check_equal
from mathdnn_jax.testing.determinant import equilibrated, log_abs_det

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


class Examined(NamedTuple):
    """A map at an event, and how far rounding may have moved what it computed.

    A rounding error inside a map is a relative error of ε in one of its parameters or in its event, as far as it has an
    effect. So the units are measured: the greatest change of f(x) and of the log-det when all parameters and all
    entries of x move by a relative h in random directions, divided by h.

    - `z` (n,), `log_det` and `jacobian`: flattened, as in `with_jacobian`;
    - `inverse`: |J⁻¹|, entry by entry;
    - `z_units` (n,), `log_det_units`: the units of z and of the log-det, including those of their own last rounding;
    - `bound`: how far the reported log-det may be from that of the Jacobian.
    """

    z: np.ndarray
    log_det: float
    jacobian: np.ndarray
    inverse: np.ndarray
    z_units: np.ndarray
    log_det_units: float
    bound: float


STEP = 2.0**-20
DIRECTIONS = 4
SAFETY = 64
"""Allowance for the number of roundings of a map, all of which may have the same sign."""


def examine(bijector: Bijector, params: Params, x: jax.Array) -> Examined:
    """Evaluate a map, its Jacobian and the conditions of both.

    Raises:
        AssertionError: a result is NaN or infinite, or the Jacobian is singular.
        Undecided: rounding may have moved the log-det by UNDECIDED or more.
    """
    image, log_det, jacobian = with_jacobian(bijector, params, x)
    z = np.ravel(np.asarray(image))
    if not (np.isfinite(z).all() and np.isfinite(log_det) and np.isfinite(jacobian).all()):
        raise AssertionError(f"the image is {z.tolist()}, the reported log-det {log_det:.6g}, the Jacobian {jacobian}")
    moved = [_compiled(bijector)(*arguments)[:2] for arguments in _moved((params, x), STEP)]
    z_units = np.abs(z) + np.max([np.abs(np.ravel(other) - z) for other, _ in moved], 0) / STEP
    units = abs(log_det) + max(abs(float(other) - log_det) for _, other in moved) / STEP
    scaled = equilibrated(jacobian)
    if scaled is None:
        raise AssertionError(f"the Jacobian is singular; the reported log-det is {log_det:.6g}")
    matrix, rows, columns = scaled
    bound = SAFETY * EPS * (len(z) * np.linalg.cond(matrix) + units)
    if not bound < UNDECIDED:
        raise Undecided(f"rounding may move the log-det {log_det:.6g} by {bound:.3g}")
    inverse = np.ldexp(np.abs(np.linalg.inv(matrix)), -(rows + columns[:, None]))
    return Examined(z, log_det, jacobian, inverse, z_units, units, float(bound))


def _moved(tree: Any, size: Any) -> list[Any]:
    """The tree with each entry v moved to v (1 ± size), in directions that its own bits decide."""
    arrays, structure = jax.tree.flatten(tree)
    # In NumPy, since JAX would compile one product for each shape.
    leaves = [np.asarray(leaf) for leaf in arrays]
    rng = np.random.default_rng(np.concatenate([np.ravel(leaf).view(np.uint32) for leaf in leaves]))
    return [
        jax.tree.unflatten(structure, [leaf * (1 + size * rng.choice([-1.0, 1.0], leaf.shape)) for leaf in leaves])
        for _ in range(DIRECTIONS)
    ]


def check_log_det(bijector: Bijector, params: Params, x: jax.Array) -> Examined:
    """Check the reported log-det against that of the full Jacobian, up to rounding at the condition of the case.

    Returns:
        What was computed for it, with the bound.

    Raises:
        AssertionError: they differ by more.
        Undecided: as in `examine`.
    """
    examined = examine(bijector, params, x)
    truth = log_abs_det(examined.jacobian)[1]
    check_equal("reported log-det against that of the full Jacobian", examined.log_det, truth, examined.bound)
    return examined


def check_inverse(bijector: Bijector, params: Params, x: jax.Array) -> np.ndarray:
    """Check that f⁻¹(f(x)) = x and that the two log-dets cancel, up to rounding at the condition of the case.

    Returns:
        How far each entry of x may come back from where it was.

    Raises:
        AssertionError: they are farther apart.
        Undecided: as in `examine`, or rounding may have moved an entry of x by UNDECIDED, relative to 1 + |x|.
    """
    examined = examine(bijector, params, x)
    back, inverse_log_det = _inverse(bijector)(params, with_jacobian(bijector, params, x)[0])
    size = 1 + np.abs(np.ravel(x))
    bound = np.asarray(SAFETY * EPS * (size + examined.inverse @ examined.z_units))
    if not (bound < UNDECIDED * size).all():
        raise Undecided(f"rounding may move an entry of x by {bound.max():.3g}")
    check_equal("inverse of the image", np.ravel(back), np.ravel(x), bound)
    # The inverse's log-det is that at the x which it has found.
    near = [np.asarray(x) + np.reshape(bound * signs, x.shape) for signs in _signs(x)]
    shift = max(abs(float(_compiled(bijector)(params, other)[1]) - examined.log_det) for other in near)
    allowed = 4 * shift + SAFETY * EPS * (len(bound) + examined.log_det_units)
    check_equal("sum of the two log-dets", examined.log_det + float(inverse_log_det), 0.0, allowed)
    return bound


def _signs(x: jax.Array) -> np.ndarray:
    rng = np.random.default_rng(np.ravel(np.asarray(x)).view(np.uint32))
    return np.asarray(rng.choice([-1.0, 1.0], (DIRECTIONS, x.size)))
