"""One direction of a map as a few compiled functions, each of which is compiled once per check."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mathdnn_jax.errors import ConfigurationError
from mathdnn_jax.testing.cases import Tree, is_float
from mathdnn_jax.testing.compiled import Compiled
from mathdnn_jax.testing.gradients import Pulled, Slopes, weights
from mathdnn_jax.testing.support import Support

BATCH_SHAPES: tuple[tuple[int, ...], ...] = ((3,), (2, 3), (1,))
"""The shapes of the batches that are tried, all of which begin with the same events."""
BATCH = max(map(math.prod, BATCH_SHAPES))
DIRECTIONS = 8
"""Number of random directions in which a case is moved, to measure its sensitivity to small changes."""
DIFFERENCES = 2
"""Number of directions in which central differences are taken."""
STEP = 32 * float(np.finfo(np.float32).eps)
"""Step size relative to 1 + |entry|: 32 float32 ulps."""
FAR = 4
"""A second step, in other directions, is this many times as long, for maps that are flat only nearby."""


class Analysis(NamedTuple):
    """The float64 results at one event, as NumPy arrays, with the entries of value and event flattened.

    - `moved_*`: results at points where parameters, context and event are moved by `STEP`;
    - `far_*`: results at points where they are moved by `FAR` times as much;
    - `ahead` and `behind`: values at x + dx and x − dx for the tangents dx, and likewise the log_dets;
    - `slopes`: the gradients of value and log_det with respect to parameters, context and event by reverse mode, beside
      their differences; None if they are not checked.
    """

    x: np.ndarray
    value: np.ndarray
    log_det: np.ndarray
    jacobian: np.ndarray
    log_det_gradient: np.ndarray
    moved_value: np.ndarray
    moved_log_det: np.ndarray
    far_value: np.ndarray
    far_log_det: np.ndarray
    tangents: np.ndarray
    ahead: np.ndarray
    behind: np.ndarray
    ahead_log_det: np.ndarray
    behind_log_det: np.ndarray
    slopes: Slopes | None
    value_dtype: np.dtype[Any]
    log_det_dtype: np.dtype[Any]


class Direction(NamedTuple):
    """A map in one direction: its name, the shapes of its event and value, and its compiled functions.

    - `call(params, context, x) -> (value, log_det)`: the plain function, not compiled;
    - `analyse(params, context, x, step=STEP, least=1.0) -> Analysis`: `step` is that of `ahead` and `behind`, relative
      to `least` + |entry|, one number for all entries of x or one for each;
    - `batch(params, contexts, xs) -> (batches, vmapped)` for `BATCH` events: `vmapped` is (value, log_det) of all of
      them, and `batches` has {batch shape: (value, log_det) of its first events, flattened over the batch}. It is empty
      if leading axes are not batch axes;
    - `single(params, context, x) -> (value, log_det)`: compiled, for float32 and for high precision, which traces it;
    - `derived(params, context, x) -> (value, log_det, ∂value/∂x)`: likewise;
    - `slopes(params, context, x) -> (∂log_det/∂x, gradients)`: likewise, where `gradients` are those by reverse mode of
      `weights` · value and of log_det, each with respect to the float leaves and x, or None.
    """

    name: str
    shape: tuple[int, ...]
    value_shape: tuple[int, ...]
    call: Callable[..., tuple[jax.Array, jax.Array]]
    analyse: Callable[..., Analysis]
    batch: Callable[..., Any]
    single: Compiled
    derived: Compiled
    slopes: Compiled


def direction(
    name: str,
    function: Callable[..., Any],
    shape: tuple[int, ...],
    value_shape: tuple[int, ...],
    support: Support,
    *,
    with_params: bool,
    batched: bool,
    gradients: bool,
) -> Direction:
    """Wrap a plain function. Nothing is compiled before it is used."""

    def call(params: Tree, context: Tree, x: jax.Array, /) -> tuple[jax.Array, jax.Array]:
        first = (params,) if with_params else ()
        last = () if context is None else (context,)
        value, log_det = function(*first, x, *last)
        return value, log_det

    def joined(floats: list[Any], rest: Any, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        params, context = _join(floats, rest)
        return call(params, context, x)

    def derived(params: Tree, context: Tree, x: jax.Array, /) -> tuple[jax.Array, jax.Array, jax.Array]:
        def twice(x: jax.Array) -> Any:
            value, log_det = call(params, context, x)
            return value, (value, log_det)

        jacobian, (value, log_det) = _derivative(twice, x, has_aux=True)
        return value, log_det, jacobian

    def slopes(params: Tree, context: Tree, x: jax.Array, /) -> Any:
        forward = _derivative(lambda x: call(params, context, x)[1], x)
        floats, rest = _split((params, context))
        return forward, _pulled(lambda leaves, x: joined(leaves, rest, x), floats, x, name) if gradients else None

    @Compiled
    def everything(params: Tree, context: Tree, x: jax.Array, elsewhere: tuple[list[Any], jax.Array]) -> Any:
        value, log_det = call(params, context, x)
        jacobian, log_det_gradient = _derivative(lambda x: call(params, context, x), x)
        floats, rest = _split((params, context))
        there = jax.vmap(lambda leaves, x: joined(leaves, rest, x))(*elsewhere)
        pulled = _pulled(lambda leaves, x: joined(leaves, rest, x), floats, x, name) if gradients else None
        return value, log_det, jacobian, log_det_gradient, there, pulled

    def analyse(
        params: Tree, context: Tree, x: np.ndarray, step: float | np.ndarray = STEP, least: float = 1.0
    ) -> Analysis:
        rng = np.random.default_rng(0)
        floats = [np.asarray(leaf, np.float64) for leaf in _split((params, context))[0]]
        moved_leaves = [_move(rng, leaf) for leaf in floats]
        moved_xs = support.keep_inside(x, _move(rng, x))
        tangents = step * (least + np.abs(x)) * rng.choice([-1.0, 1.0], (DIFFERENCES, *x.shape))
        sides = np.concatenate([x + tangents, x - tangents])
        if support.outside(sides).any():
            tangents, sides = tangents * np.nan, np.broadcast_to(x, sides.shape)
        # Parameters and context are moved together with the event, by steps of the same relative size.
        size = float(np.min(step))
        turns = [size * (least + np.abs(leaf)) * rng.choice([-1.0, 1.0], (DIFFERENCES, *leaf.shape)) for leaf in floats]
        # All other points are evaluated at once: moved, beside x alone, and beside everything together.
        leaves = [
            np.concatenate([moved, np.broadcast_to(leaf, (len(sides), *leaf.shape)), leaf + turn, leaf - turn])
            for moved, leaf, turn in zip(moved_leaves, floats, turns, strict=True)
        ]
        elsewhere = leaves, np.concatenate([moved_xs, sides, sides])
        computed = everything(as_arrays(params), as_arrays(context), jnp.asarray(x), elsewhere)
        value, log_det, jacobian, log_det_gradient, there, pulled = computed
        ends = [2 * DIRECTIONS, 2 * DIRECTIONS + len(sides)]
        moved_value, side_value, joint_value = np.split(flat(there[0], ends[1] + len(sides)), ends)
        moved_log_det, side_log_det, joint_log_det = np.split(np.asarray(there[1], np.float64), ends)
        slopes = None
        if pulled is not None:
            slopes = Slopes(
                Pulled(*jax.tree.map(flat, pulled[0])),
                Pulled(*jax.tree.map(flat, pulled[1])),
                [flat(leaf) for leaf in floats],
                [flat(turn, DIFFERENCES) for turn in turns],
                joint_value,
                joint_log_det,
            )
        return Analysis(
            x=x.reshape(-1),
            value=flat(value),
            log_det=np.asarray(log_det, np.float64),
            jacobian=np.asarray(jacobian, np.float64).reshape(value.size, x.size),
            log_det_gradient=flat(log_det_gradient),
            moved_value=moved_value[:DIRECTIONS],
            moved_log_det=moved_log_det[:DIRECTIONS],
            far_value=moved_value[DIRECTIONS:],
            far_log_det=moved_log_det[DIRECTIONS:],
            tangents=flat(tangents, DIFFERENCES),
            ahead=side_value[:DIFFERENCES],
            behind=side_value[DIFFERENCES:],
            ahead_log_det=side_log_det[:DIFFERENCES],
            behind_log_det=side_log_det[DIFFERENCES:],
            slopes=slopes,
            value_dtype=np.dtype(value.dtype),
            log_det_dtype=np.dtype(log_det.dtype),
        )

    @Compiled
    def batch(params: Tree, contexts: Tree, xs: jax.Array) -> Any:
        axes = (None, None if contexts is None else 0, 0)
        vmapped = jax.vmap(call, in_axes=axes)(params, contexts, xs)
        batches = {}
        for batch_shape in BATCH_SHAPES if batched else ():
            count = math.prod(batch_shape)
            given, events = jax.tree.map(
                functools.partial(_as_batch, batch_shape=batch_shape, count=count), (contexts, xs)
            )
            value, log_det = call(params, given, events)
            batches[batch_shape] = value.reshape(count, *value_shape), log_det.reshape(count)
        return batches, vmapped

    traced = Compiled(call), Compiled(derived), Compiled(slopes)
    return Direction(name, shape, value_shape, call, analyse, batch, *traced)


def _as_batch(array: jax.Array, batch_shape: tuple[int, ...], count: int) -> jax.Array:
    return array[:count].reshape(*batch_shape, *array.shape[1:])


def _derivative(function: Callable[[jax.Array], Any], x: jax.Array, *, has_aux: bool = False) -> Any:
    """Return the Jacobian by forward mode, or by reverse mode if a map has only a rule for that."""
    try:
        return jax.jacfwd(function, has_aux=has_aux)(x)
    except TypeError as error:
        if "custom_vjp" not in str(error):
            raise
        return jax.jacrev(function, has_aux=has_aux)(x)


def _pulled(function: Callable[..., Any], floats: list[Any], x: jax.Array, name: str) -> Any:
    """Return the gradients of `weights` · value and of log_det with respect to the leaves and x, by reverse mode.

    A numerical inverse, which nobody trains through, may have none; None is returned for it.

    Raises:
        ConfigurationError: there is no reverse mode, and this is not an inverse.
    """
    try:
        (value, log_det), pull = jax.vjp(function, floats, x)
        weighted = pull((weights(value.shape).astype(value.dtype), jnp.zeros_like(log_det)))
        return weighted, pull((jnp.zeros_like(value), jnp.ones_like(log_det)))
    except ValueError as error:
        if "Reverse-mode differentiation does not work" not in str(error):
            raise
        if name == "inverse":
            return None
        raise ConfigurationError(
            f"{name} has no gradients by reverse mode ({str(error).splitlines()[0][:200]}); give gradients=False if "
            "nobody will train it"
        ) from error


def flat(array: Any, rows: int | None = None) -> np.ndarray:
    """Return an array as a float64 vector, or as this many of them."""
    return np.asarray(array, np.float64).reshape(-1 if rows is None else (rows, -1))


def as_arrays(tree: Tree, dtype: Any = np.float64) -> Tree:
    """Return the tree with its floats as JAX arrays of a dtype. Other leaves stay as they are."""
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype) if is_float(leaf) else leaf, tree)


def _move(rng: np.random.Generator, array: np.ndarray) -> np.ndarray:
    near, far = rng.choice([-1.0, 1.0], (2, DIRECTIONS, *array.shape))
    return np.asarray(array + STEP * (1 + np.abs(array)) * np.concatenate([near, FAR * far]))


def _split(tree: Tree) -> tuple[list[Any], Any]:
    leaves, structure = jax.tree.flatten(tree)
    floats = [leaf for leaf in leaves if is_float(leaf)]
    return floats, (structure, [None if is_float(leaf) else leaf for leaf in leaves], [is_float(x) for x in leaves])


def _join(floats: list[Any], rest: Any) -> Any:
    structure, others, where = rest
    given = iter(floats)
    return jax.tree.unflatten(
        structure, [next(given) if here else other for here, other in zip(where, others, strict=True)]
    )
