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
    NaN gives NaN.

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
    # If β is infinite, the maximum is the answer, and the other branch must still have a finite derivative.
    finite = jnp.isfinite(beta)
    slope = jnp.where(finite, beta, 1)
    excess = jax.nn.logsumexp(jnp.expand_dims(slope, axis) * _below_max(x, axis), axis) / slope
    anchor = jnp.squeeze(jax.lax.stop_gradient(highest), axis)
    soft = jnp.where(jnp.isfinite(anchor), anchor, 0) + excess
    return jnp.where(finite, soft, jnp.squeeze(highest, axis))


def smooth_max_gradient(x: ArrayLike, beta: ArrayLike, axis: int = -1) -> jax.Array:
    """∇ν_β(x) = softmax(β x) over `axis`.

    For β → ∞ it tends to 1/k on each of the k entries that attain the maximum and to 0 elsewhere, which is an indicator
    only if the maximum is unique. β = ∞ gives this limit.

    Returns:
        The gradient, with the shape of `x`; its entries are at least 0 and sum to 1 over `axis`.

    Raises:
        DomainError, EventShapeError: As in `smooth_max`.

    Source: course 004, P1(b), and (c) as corrected by erratum E7.
    """
    x, beta = _checked(x, beta, axis)
    finite = jnp.expand_dims(jnp.isfinite(beta), axis)
    slope = jnp.where(finite, jnp.expand_dims(beta, axis), 1)
    attains = (x == jnp.max(x, axis, keepdims=True)).astype(x.dtype)
    return jnp.where(
        finite, jax.nn.softmax(slope * _below_max(x, axis), axis), attains / attains.sum(axis, keepdims=True)
    )


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


def _below_max(x: jax.Array, axis: int) -> jax.Array:
    """The entries minus the greatest one, which is treated as a constant by derivatives, because it cancels."""
    highest = jax.lax.stop_gradient(jnp.max(x, axis, keepdims=True))
    return x - jnp.where(jnp.isfinite(highest), highest, 0)
