"""Dequantisation and quantisation: integers to the unit interval and back, so that images are samples of a density."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike, DTypeLike

from mathdnn_jax.errors import ConfigurationError, EventShapeError, ImageError, NonFiniteError

SPARE_BITS = 2
LEAST_BITS = 4
"""The fewest bits that the offset in a cell may have; with fewer it would be far from uniform."""


def dequantize(
    key: jax.Array,
    images: ArrayLike,
    levels: int = 256,
    *,
    event_ndims: int = 3,
    dtype: DTypeLike = jnp.float32,
) -> tuple[jax.Array, jax.Array]:
    """y = (x + u) / levels with u uniform on (0, 1), and log_det = −D log(levels), D the number of entries of an event.

    y lies strictly inside the cell (x/levels, (x + 1)/levels), hence never at 0 or 1, and `quantize` recovers x
    exactly: u is drawn from the midpoints of a grid on which x + u is exact (2¹⁴ of them for 256 levels in float32).
    For any density p of y, log P(x) ≥ E_u log p(y) + log_det, in nats (Jensen's inequality).

    Args:
        key: the key of the noise.
        images: integers from 0 to levels − 1, of any integer dtype, or booleans, which are 0 and 1; (..., *event).
        levels: the number of values that an entry may have.
        event_ndims: the number of trailing axes of one image: 3 for H × W × C, 1 for vectors.
        dtype: the dtype of y.

    Returns:
        (y, log_det): y has the shape of `images`, log_det the batch shape, both in `dtype`.

    Raises:
        ConfigurationError: levels < 2, or the dtype has too few digits for that many; or event_ndims < 0.
        EventShapeError: images have fewer axes than an event.
        ImageError: images are neither integers nor booleans, or (unless under jit or vmap) some are outside
            0, …, levels − 1.

    Example:
        >>> import jax, jax.numpy as jnp, mathdnn_jax as mj
        >>> images = jnp.arange(24, dtype=jnp.uint8).reshape(2, 2, 2, 3)
        >>> y, log_det = mj.bijectors.dequantize(jax.random.key(0), images)
        >>> y.shape, log_det.shape, bool((mj.bijectors.quantize(y) == images).all())
        ((2, 2, 2, 3), (2,), True)

    Source: Uria, Murray, Larochelle, "RNADE", 2013; Theis, van den Oord, Bethge, "A note on the evaluation of
    generative models", 2016.
    """
    bits = _offset_bits(levels, dtype)
    if event_ndims < 0:
        raise ConfigurationError(f"an event has at least 0 axes, given event_ndims={event_ndims}")
    x = images if isinstance(images, jax.Array) else np.asarray(images)
    if x.dtype == np.bool_:
        x = x.astype(np.uint8)
    if not jnp.issubdtype(x.dtype, jnp.integer):
        raise ImageError(
            f"dequantize takes integers from 0 to {levels - 1}, given dtype {x.dtype}; pass images in [0, 1] through "
            f"quantize first"
        )
    if x.ndim < event_ndims:
        raise EventShapeError(f"dequantize was given events of {event_ndims} axes and an array of shape {x.shape}")
    if not isinstance(x, jax.core.Tracer) and x.size and (int(x.min()) < 0 or int(x.max()) >= levels):
        raise ImageError(
            f"dequantize with levels={levels} takes integers from 0 to {levels - 1}, "
            f"given values from {int(x.min())} to {int(x.max())}"
        )
    batch_shape, event_shape = x.shape[: x.ndim - event_ndims], x.shape[x.ndim - event_ndims :]
    y = _place(jnp.asarray(x).astype(dtype), jax.random.uniform(key, x.shape, dtype), levels, bits)
    return y, jnp.full(batch_shape, -math.prod(event_shape) * math.log(levels), dtype)


def quantize(y: ArrayLike, levels: int = 256) -> jax.Array:
    """⌊levels · y⌋, at least 0 and at most levels − 1: the cell that contains y.

    The dtype is uint8 for up to 256 levels, else int32. Values outside [0, 1], which samples of a flow may have, are
    assigned to the nearest cell.

    Raises:
        ConfigurationError: levels < 2.
        NonFiniteError: (unless under jit or vmap) some y are NaN.

    Example:
        >>> import jax.numpy as jnp, mathdnn_jax as mj
        >>> mj.bijectors.quantize(jnp.array([-0.1, 0.0, 0.5, 1.0])).tolist()
        [0, 0, 128, 255]
    """
    if levels < 2:
        raise ConfigurationError(f"quantize takes at least 2 levels, given levels={levels}")
    values = jnp.asarray(y)
    if not isinstance(values, jax.core.Tracer) and (missing := int(jnp.isnan(values).sum())):
        raise NonFiniteError(f"quantize was given {missing} NaN among {values.size} values; a NaN lies in no cell")
    return jnp.clip(jnp.floor(values * levels), 0, levels - 1).astype(jnp.uint8 if levels <= 256 else jnp.int32)


def _offset_bits(levels: int, dtype: DTypeLike) -> int:
    """The number of bits of the offset in a cell for which x + u is exact and the division rounds within the cell."""
    bits = jnp.finfo(dtype).nmant + 1 - math.ceil(math.log2(max(levels, 2))) - SPARE_BITS
    if levels < 2 or bits < LEAST_BITS:
        raise ConfigurationError(
            f"dequantize takes at least 2 levels, and few enough to leave {LEAST_BITS} bits of the dtype for the "
            f"noise; given levels={levels} in {jnp.dtype(dtype).name}"
        )
    return bits


def _place(x: jax.Array, uniform: jax.Array, levels: int, bits: int) -> jax.Array:
    """(x + u) / levels, where u is the midpoint of the interval, of 2^bits, that contains the uniform number."""
    grid = 2.0**bits
    return (x + (jnp.floor(uniform * grid) + 0.5) / grid) / levels
