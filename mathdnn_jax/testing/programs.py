"""One direction of a map as a few compiled functions, each of which is compiled once per check."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mathdnn_jax.testing.cases import Tree, is_float
from mathdnn_jax.testing.support import Support

BATCH = 3
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
    - `ahead` and `behind`: values at x + dx and x − dx for the tangents dx;
    - `gradients`: for each leaf of (parameters, event), whether the gradients of value and log_det are finite; None if
      they are not checked.
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
    gradients: Any
    value_dtype: np.dtype[Any]
    log_det_dtype: np.dtype[Any]


class Direction(NamedTuple):
    """A map in one direction: its name, the shapes of its event and value, and its compiled functions.

    - `call(params, context, x) -> (value, log_det)`: the plain function, not compiled;
    - `analyse(params, context, x, step=STEP) -> Analysis`: `step` is that of `ahead` and `behind`, one number for all
      entries of x or one for each;
    - `batch(params, contexts, xs) -> (batched, vmapped)`: both are (value, log_det); `batched` is None if leading axes
      are not batch axes;
    - `single(params, context, x) -> (value, log_det)`: compiled, for float32 and for high precision, which traces it;
    - `derived(params, context, x) -> (value, log_det, ∂value/∂x)`: likewise.
    """

    name: str
    shape: tuple[int, ...]
    value_shape: tuple[int, ...]
    call: Callable[..., tuple[jax.Array, jax.Array]]
    analyse: Callable[..., Analysis]
    batch: Callable[..., Any]
    single: Any
    derived: Any


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

    @_compiled
    def everything(params: Tree, context: Tree, x: jax.Array, moved: Any, sides: jax.Array) -> Any:
        value, log_det = call(params, context, x)
        jacobian, log_det_gradient = _derivative(lambda x: call(params, context, x), x)
        moved_leaves, moved_xs = moved
        floats, rest = _split((params, context))
        moved_value, moved_log_det = jax.vmap(lambda leaves, x: joined(leaves, rest, x))(moved_leaves, moved_xs)
        side_value, _ = jax.vmap(lambda x: call(params, context, x))(sides)
        finite = None
        if gradients:
            _, pull = jax.vjp(lambda leaves, x: joined(leaves, rest, x), floats, x)
            pulled = pull((jnp.ones_like(value), jnp.zeros_like(log_det)))
            pulled_log_det = pull((jnp.zeros_like(value), jnp.ones_like(log_det)))
            finite = jax.tree.map(lambda gradient: jnp.isfinite(gradient).all(), (pulled, pulled_log_det))
        return value, log_det, jacobian, log_det_gradient, moved_value, moved_log_det, side_value, finite

    def analyse(params: Tree, context: Tree, x: np.ndarray, step: float | np.ndarray = STEP) -> Analysis:
        rng = np.random.default_rng(0)
        floats, _ = _split((params, context))
        moved_leaves = [_move(rng, np.asarray(leaf, np.float64)) for leaf in floats]
        moved_xs = support.keep_inside(x, _move(rng, x))
        tangents = step * (1 + np.abs(x)) * rng.choice([-1.0, 1.0], (DIFFERENCES, *x.shape))
        sides = np.concatenate([x + tangents, x - tangents])
        if support.outside(sides).any():
            tangents, sides = tangents * np.nan, np.broadcast_to(x, sides.shape)
        computed = everything(as_arrays(params), as_arrays(context), jnp.asarray(x), (moved_leaves, moved_xs), sides)
        value, log_det, jacobian, log_det_gradient, moved_value, moved_log_det, side_value, finite = computed
        sides, moved_value = flat(side_value, 2 * DIFFERENCES), flat(moved_value, 2 * DIRECTIONS)
        moved_log_det = np.asarray(moved_log_det, np.float64)
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
            ahead=sides[:DIFFERENCES],
            behind=sides[DIFFERENCES:],
            gradients=jax.tree.map(bool, finite),
            value_dtype=np.dtype(value.dtype),
            log_det_dtype=np.dtype(log_det.dtype),
        )

    @_compiled
    def batch(params: Tree, contexts: Tree, xs: jax.Array) -> Any:
        axes = (None, None if contexts is None else 0, 0)
        vmapped = jax.vmap(call, in_axes=axes)(params, contexts, xs)
        return call(params, contexts, xs) if batched else None, vmapped

    return Direction(name, shape, value_shape, call, analyse, batch, _compiled(call), _compiled(derived))


def _compiled(function: Callable[..., Any]) -> Any:
    """Compile fast rather than well, because every function here is called only a few dozen times, on one event."""
    hasty = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
    return jax.jit(function, compiler_options=hasty if jax.default_backend() == "cpu" else None)


def _derivative(function: Callable[[jax.Array], Any], x: jax.Array, *, has_aux: bool = False) -> Any:
    """Return the Jacobian by forward mode, or by reverse mode if a map has only a rule for that."""
    try:
        return jax.jacfwd(function, has_aux=has_aux)(x)
    except TypeError as error:
        if "custom_vjp" not in str(error):
            raise
        return jax.jacrev(function, has_aux=has_aux)(x)


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
