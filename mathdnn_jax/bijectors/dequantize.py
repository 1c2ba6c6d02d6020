"""From integers to the unit interval and back: images as samples of a density."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike, DTypeLike

from mathdnn_jax.errors import ConfigurationError, EventShapeError, ImageError, NonFiniteError

SPARE_BITS = 2
LEAST_BITS = 4
"""Of the offset in a cell: with fewer it would be far from uniform."""


def dequantize(
    key: jax.Array,
    images: ArrayLike,
    levels: int = 256,
    *,
    event_ndims: int = 3,
    dtype: DTypeLike = jnp.float32,
) -> tuple[jax.Array, jax.Array]:
    """Y = (x + u) / levels with u uniform on (0, 1), and log_det = −D log(levels), D the number of entries of an event.

    y lies strictly inside the cell (x/levels, (x + 1)/levels), so never at 0 or 1, and `quantize` gives x back exactly:
    u is drawn from the midpoints of a grid that x + u represents without rounding (2¹⁴ of them for 256 levels in
    float32). For any density p of y, log P(x) ≥ E_u log p(y) + log_det, in nats (Jensen's inequality).

    Args:
        key: of the noise.
        images: integers from 0 to levels − 1, of any integer dtype; (..., *event).
        levels: how many values an entry may have.
        event_ndims: how many trailing axes make one image: 3 for H × W × C, 1 for vectors.
        dtype: of y.

    Returns:
        (y, log_det): y of the shape of `images`, log_det of the batch shape, both of `dtype`.

    Raises:
        ConfigurationError: levels < 2, or more of them than the dtype has digits for; event_ndims < 0.
        EventShapeError: images have fewer axes than an event.
        ImageError: images are not integers, or (unless under jit or vmap) some are outside 0, …, levels − 1.

    Source: Uria, Murray, Larochelle, "RNADE", 2013; Theis, van den Oord, Bethge, "A note on the evaluation of
    generative models", 2016.
    """
    bits = _offset_bits(levels, dtype)
    if event_ndims < 0:
        raise ConfigurationError(f"an event has 0 axes or more, given event_ndims={event_ndims}")
    x = images if isinstance(images, jax.Array) else np.asarray(images)
    if not jnp.issubdtype(x.dtype, jnp.integer):
        raise ImageError(
            f"dequantize takes integers from 0 to {levels - 1}, given dtype {x.dtype}; images in [0, 1] go through "
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
    """⌊levels · y⌋, at least 0 and at most levels − 1: the cell that y lies in; uint8 for up to 256 levels, else int32.

    Values outside [0, 1], which a flow's samples may have, go to the nearest cell.

    Raises:
        ConfigurationError: levels < 2.
        NonFiniteError: (unless under jit or vmap) some y are NaN.
    """
    if levels < 2:
        raise ConfigurationError(f"quantize makes at least 2 levels, given levels={levels}")
    values = jnp.asarray(y)
    if not isinstance(values, jax.core.Tracer) and (missing := int(jnp.isnan(values).sum())):
        raise NonFiniteError(f"quantize was given {missing} NaN among {values.size} values, which lie in no cell")
    return jnp.clip(jnp.floor(values * levels), 0, levels - 1).astype(jnp.uint8 if levels <= 256 else jnp.int32)


def _offset_bits(levels: int, dtype: DTypeLike) -> int:
    """How many bits the offset in a cell may have, such that x + u is exact and division rounds within the cell."""
    bits = jnp.finfo(dtype).nmant + 1 - math.ceil(math.log2(max(levels, 2))) - SPARE_BITS
    if levels < 2 or bits < LEAST_BITS:
        raise ConfigurationError(
            f"dequantize takes at least 2 levels, and as many as leave {LEAST_BITS} bits of the dtype for the noise; "
            f"given levels={levels} in {jnp.dtype(dtype).name}"
        )
    return bits


def _place(x: jax.Array, uniform: jax.Array, levels: int, bits: int) -> jax.Array:
    """(x + u) / levels, u the midpoint of that of 2^bits intervals in which a uniform number in [0, 1) lies."""
    grid = 2.0**bits
    return (x + (jnp.floor(uniform * grid) + 0.5) / grid) / levels
