"""The numerical inverse of a monotone function of one variable."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike

from mathdnn_jax.bijectors.bijector import Params
from mathdnn_jax.bijectors.float_order import check_float, float_of_rank, middle, rank
from mathdnn_jax.errors import ConfigurationError

Function = Callable[[Params, jax.Array], jax.Array]
Residual = Callable[[jax.Array], jax.Array]
Search = tuple[jax.Array, jax.Array, jax.Array, jax.Array, jax.Array]

EXPANSION = 8
"""The factor by which each step outside the first bracket is longer than the previous one."""

NEAR, FAR = 4, 64
"""Distances, in floats, of the bracket ends that are tried on either side of Newton's result: first near, then far."""


def monotone_inverse(
    function: Function,
    params: Params,
    z: jax.Array,
    *,
    lower: ArrayLike = -1.0,
    upper: ArrayLike = 1.0,
    decreasing: bool = False,
    newton: int = 0,
) -> tuple[jax.Array, jax.Array]:
    """Solve f(θ, x) = z for x, entry by entry, where f is increasing (or decreasing) in x.

    The search for a bracket f(θ, a) ≤ z ≤ f(θ, b) starts from `lower` and `upper` and moves outwards in geometrically
    growing steps, up to the greatest finite float; the bracket is checked. Then the number of floats in it is halved
    until its ends are adjacent floats, and x is the end with the smaller |f(θ, x) − z|. Besides the search for the
    bracket, this takes at most 64 evaluations of f in float64 and 32 in float32. The derivative is that of the
    implicit function theorem, ∂x/∂z = 1 / f_x and ∂x/∂θ = −f_θ / f_x at (θ, x), in forward and reverse mode and to any
    order.

    Args:
        function: f(params, x) → array of the shape and dtype of x, where each entry depends only on its own x. Whatever
            is to be differentiated must be passed through `params`, not through variables that the function closes
            over. The same function object is compiled once for each shape; a new lambda in every call is not.
        params: θ, any tree of arrays that broadcast against x inside f.
        z: float32 or float64, any shape.
        lower: one end of the interval where the search starts, inside the domain of f: a scalar or an array that
            broadcasts to z. The better the bracket, the fewer steps. The two ends may be given in either order.
        upper: the other end.
        decreasing: whether f decreases in x.
        newton: the number of Newton steps before the halving. Each stays inside the bracket (a step that would leave
            it becomes a halving). If they converge, a few evaluations certify the root instead of 64.

    Returns:
        (x, found), where found is boolean. Where it is false, x is NaN, never an end of the bracket, and its
        derivatives are 0, so that masking x by `found` leaves the gradient of the other entries intact. It is false
        where z is NaN or outside the range of f over the finite floats, where f is NaN at an end of the bracket or next
        to x, and where f(lower) and f(upper) are in the wrong order. If f is not monotone in between, x is one of the
        roots; if f jumps over z, x is the place of the jump. Where f is flat at x, derivatives are infinite.

    Raises:
        ConfigurationError: z has another dtype, `newton` is negative, or the function returns a wrong shape or dtype.

    Source: erratum E4 (course 002, P2), where bisection on [−3, 3] mistakes an end point for the root.
    """
    if newton < 0:
        raise ConfigurationError(f"monotone_inverse takes at least 0 Newton steps, given newton={newton}")
    check_float(z, "monotone_inverse")
    returned = jax.eval_shape(function, params, z)
    if (returned.shape, returned.dtype) != (z.shape, z.dtype):
        raise ConfigurationError(
            f"monotone_inverse needs a function that maps x to an array like x, of shape {z.shape} and dtype "
            f"{z.dtype}; it returned {returned.shape}, {returned.dtype}"
        )
    ends = [lax.stop_gradient(jnp.broadcast_to(jnp.asarray(end).astype(z.dtype), z.shape)) for end in (lower, upper)]
    try:
        hash(function)
    except TypeError:
        # A method of an unhashable object, say; a partial is hashed by its identity.
        function = functools.partial(function)
    solved: tuple[jax.Array, jax.Array] = _compiled_root(function, -1 if decreasing else 1, newton, params, z, *ends)
    return solved


@functools.partial(jax.custom_jvp, nondiff_argnums=(0, 1, 2))
def _root(
    function: Function, sign: int, newton: int, params: Params, z: jax.Array, lower: jax.Array, upper: jax.Array
) -> tuple[jax.Array, jax.Array]:
    def residual(x: jax.Array) -> jax.Array:
        return sign * (function(params, x) - z)

    low, high, bracketed = _expand(residual, jnp.minimum(lower, upper), jnp.maximum(lower, upper))
    # Without a bracket there is nothing to halve, and a loop that starts from a NaN, which has no rank, may never end.
    low, high = (jnp.where(bracketed, end, jnp.zeros_like(end)) for end in (low, high))
    guess = None
    if newton:
        low, high, guess = _newton(residual, low, high, newton)
    low, high = _halve(residual, low, high, guess)

    below, above = residual(low), residual(high)
    x = jnp.where(jnp.abs(above) < jnp.abs(below), high, low)
    found = bracketed & jnp.isfinite(jnp.minimum(jnp.abs(below), jnp.abs(above)))
    return jnp.where(found, x, jnp.nan), found


@_root.defjvp
def _root_jvp(
    function: Function, sign: int, newton: int, primals: tuple[Params, ...], tangents: tuple[Params, ...]
) -> tuple[tuple[jax.Array, jax.Array], tuple[jax.Array, Any]]:
    params, z, lower, upper = primals
    x, found = _root(function, sign, newton, params, z, lower, upper)
    # The function is evaluated even where there is no root; a NaN there would spoil the gradient of the other entries.
    somewhere = jnp.where(found, x, jnp.where(jnp.isfinite(lower), lower, jnp.zeros_like(lower)))
    _, slope = _with_slope(lambda x: function(params, x), somewhere)
    _, shift = jax.jvp(lambda params: function(params, somewhere), (params,), (tangents[0],))
    tangent = jnp.where(found, (tangents[1] - shift) / jnp.where(found, slope, 1), 0)
    return (x, found), (tangent, np.zeros(found.shape, jax.dtypes.float0))


# Outside jit, too, each function is compiled once: its loops are closures, which would be compiled in every call.
_compiled_root = jax.jit(_root, static_argnums=(0, 1, 2))


def _with_slope(function: Residual, x: jax.Array) -> tuple[jax.Array, jax.Array]:
    return jax.jvp(function, (x,), (jnp.ones_like(x),))


def _expand(residual: Residual, low: jax.Array, high: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Move the bracket outwards until the residual changes sign in it or the last finite float is reached.

    Returns the ends and whether the residual changes sign between them.
    """
    numbers = jnp.finfo(low.dtype)
    limit = numbers.max

    def outside(state: Search) -> tuple[jax.Array, jax.Array]:
        low, high, below, above, _ = state
        ordered = below <= above
        return ordered & (below > 0) & (low > -limit), ordered & (above < 0) & (high < limit)

    def move(state: Search) -> Search:
        low, high, _, _, step = state
        left, right = outside(state)
        moved_low = jnp.where(left, jnp.maximum(low - step, -limit), jnp.where(right, high, low))
        moved_high = jnp.where(right, jnp.minimum(high + step, limit), jnp.where(left, low, high))
        return moved_low, moved_high, residual(moved_low), residual(moved_high), EXPANSION * step

    least = jnp.maximum(4 * numbers.eps * jnp.maximum(jnp.abs(low), jnp.abs(high)), numbers.tiny)
    start = low, high, residual(low), residual(high), jnp.maximum(high - low, least)
    low, high, below, above, _ = lax.while_loop(
        lambda state: jnp.any(outside(state)[0] | outside(state)[1]), move, start
    )
    return low, high, (below <= 0) & (above >= 0)


def _narrow(low: jax.Array, high: jax.Array, x: jax.Array, residual: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The part of a bracket that still contains the root, given the residual at a point x in it."""
    left = residual <= 0
    return jnp.where(left, x, low), jnp.where(left, high, x)


def _newton(residual: Residual, low: jax.Array, high: jax.Array, steps: int) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Narrow the bracket by Newton's method, halving it if a step would leave it; also return the last point."""

    def step(_: int, state: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
        low, high, x = state
        value, slope = _with_slope(residual, x)
        low, high = _narrow(low, high, x, value)
        ahead = x - value / slope
        return low, high, jnp.where((low < ahead) & (ahead < high), ahead, low / 2 + high / 2)

    low, high, x = lax.fori_loop(0, steps, step, (low, high, low / 2 + high / 2))
    return low, high, x


def _halve(residual: Residual, low: jax.Array, high: jax.Array, guess: jax.Array | None) -> tuple[jax.Array, jax.Array]:
    """Halve the number of floats in the bracket until its ends are adjacent; if there is a guess, first try near it."""
    dtype = low.dtype

    def halve(state: tuple[jax.Array, jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array, jax.Array]:
        low, high, count = state
        centre = middle(low, high)
        if guess is not None:
            offset = jnp.where(count < 2, NEAR, FAR) * jnp.where(count % 2 == 0, -1, 1)
            near = rank(guess) + offset.astype(low.dtype)
            centre = jnp.where((count < 4) & (low < near) & (near < high), near, centre)
        low, high = _narrow(low, high, centre, residual(float_of_rank(centre, dtype)))
        return low, high, count + 1

    start = rank(low), rank(high), jnp.zeros((), jnp.int32)
    low, high, _ = lax.while_loop(lambda state: jnp.any(state[1] > state[0] + 1), halve, start)
    return float_of_rank(low, dtype), float_of_rank(high, dtype)
