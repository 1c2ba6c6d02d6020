"""The smooth maximum and its gradient."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from mathdnn_jax.errors import EventShapeError
from mathdnn_jax.probability.checks import check_positive


def smooth_max(x: ArrayLike, beta: ArrayLike, axis: int = -1) -> jax.Array:
    """ν_β(x) = β⁻¹ log Σ_i exp(β x_i) over `axis`, for 0 < β ≤ ∞: max x ≤ ν_β(x) ≤ max x + log(n) / β.

    It is computed as m + β⁻¹ log Σ exp(β (x_i − m)) with m = max x, which neither overflows nor loses m for any β and
    x. It decreases in β and reaches max x at β = ∞. β is one number, or an array that broadcasts against the result.

    The gradient equals `smooth_max_gradient`, and the derivative in β is exact too. Entries of −∞ do not contribute;
    a greatest entry of ±∞ is the result; NaN gives NaN.

    Raises:
        DomainError: β is concrete and NaN or not greater than 0 (for a smooth minimum, use −ν_β(−x)).
        EventShapeError: There are no entries to take the maximum of, or β has more axes than the result.

    Source: course 004, P1(a).

    Example:
        >>> import jax.numpy as jnp, mathdnn_jax as mj
        >>> x = jnp.array([1.0, 3.0, 2.0])
        >>> [round(float(mj.probability.smooth_max(x, beta)), 3) for beta in (1, 10, jnp.inf)]
        [3.408, 3.0, 3.0]
    """
    x, beta = _checked(x, beta, axis)
    highest = jnp.max(x, axis, keepdims=True)
    # If β or the maximum is infinite, the maximum is the answer, and the other branch must still have a finite
    # derivative.
    finite = jnp.isfinite(beta) & jnp.isfinite(jnp.squeeze(highest, axis))
    slope = jnp.where(finite, beta, 1)
    excess = jax.nn.logsumexp(_scaled(slope, x, axis), axis) / slope
    anchor = jnp.squeeze(jax.lax.stop_gradient(highest), axis)
    return jnp.where(finite, anchor + excess, jnp.squeeze(highest, axis))


def smooth_max_gradient(x: ArrayLike, beta: ArrayLike, axis: int = -1) -> jax.Array:
    """∇ν_β(x) = softmax(β x) over `axis`.

    For β → ∞ it tends to 1/k on each of the k entries that attain the maximum and to 0 elsewhere, which is an indicator
    only if the maximum is unique. β = ∞ gives this limit, and so does a maximum of ±∞: entries of ∞ share the gradient
    equally, and so do all entries if all are −∞.

    Returns:
        The gradient, with the shape of `x`; its entries are at least 0 and sum to 1 over `axis`.

    Raises:
        DomainError, EventShapeError: As in `smooth_max`.

    Source: course 004, P1(b), and (c) as corrected by erratum E7.
    """
    x, beta = _checked(x, beta, axis)
    highest = jnp.max(x, axis, keepdims=True)
    finite = jnp.isfinite(jnp.expand_dims(beta, axis)) & jnp.isfinite(highest)
    slope = jnp.where(jnp.squeeze(finite, axis), beta, 1)
    attains = (x == highest).astype(x.dtype)
    # Where no entry attains the maximum, it is NaN, which compiled programs would not make of 0 / 0.
    shared = jnp.where(jnp.isnan(highest), highest, attains / attains.sum(axis, keepdims=True))
    return jnp.where(finite, jax.nn.softmax(_scaled(slope, x, axis), axis), shared)


def _checked(x: ArrayLike, beta: ArrayLike, axis: int) -> tuple[jax.Array, jax.Array]:
    x = jnp.asarray(x)
    if x.ndim == 0 or x.shape[axis] == 0:
        raise EventShapeError(f"a maximum needs at least one entry along axis {axis}; given the shape {x.shape}")
    check_positive(beta=beta)
    beta = beta if isinstance(beta, jax.Array) else jnp.asarray(beta, x.dtype)
    result_shape = jnp.max(x, axis).shape
    if jnp.broadcast_shapes(beta.shape, result_shape) != result_shape:
        raise EventShapeError(f"beta must broadcast against the result, of shape {result_shape}; given {beta.shape}")
    return x, jnp.broadcast_to(beta, result_shape)


def _scaled(slope: jax.Array, x: jax.Array, axis: int) -> jax.Array:
    """The slope times (the entries minus the greatest one), which derivatives treat as a constant: it cancels.

    Derivatives are finite where the greatest entry is infinite, too, and in the slope where other entries are −∞.
    """
    highest = jax.lax.stop_gradient(jnp.max(x, axis, keepdims=True))
    below = jnp.where(jnp.isinf(x) | jnp.isinf(highest), 0, x - jnp.where(jnp.isinf(highest), 0, highest))
    scaled = jnp.expand_dims(slope, axis) * below
    return jnp.where(jnp.isneginf(x) & ~jnp.isinf(highest), -jnp.inf, scaled)
