"""Convolution to few channels: the products at every pixel first, then sums of shifted results."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import lax

from mathdnn_jax.nets.kernels.matmul import rowwise

FEATURES = 4
"""With more output channels the sums take longer than the convolution."""

PRODUCTS = 2**20
"""So many of a small image's products are made at once: of more, every sum reads what is no longer in a cache."""


def pays(x: jax.Array, kernel: jax.Array) -> bool:
    """Whether this is the faster one on a CPU: many channels to few, or an image smaller than the kernel.

    On two AMD Zen 5 cores, from 64 channels to 2, 128 images of 28 × 28: 3.2 ms beside XLA's 7.7, and 12 beside
    26 with the gradient. The other case is the beginning of a generator, whose zeros around the image are most of it.
    """
    *taps, channels, features = kernel.shape
    few = features <= FEATURES and channels >= 4 * features
    return few or math.prod(x.shape[1:-1]) < math.prod(taps)


def pointwise_first(x: jax.Array, kernel: jax.Array, pads: Sequence[tuple[int, int]]) -> jax.Array:
    """X (N, n_1, …, n_r, I), kernel (k_1, …, k_r, I, O) → (N, m_1, …, m_r, O), y_m = Σ_t (x W)_{m + t − low, t}.

    One product of matrices (N Π n, I) and (I, Π k O), then, axis after axis, a sum over the taps of shifted results; of
    many images smaller than the kernel, so many at a time as their products fit a cache. A batch that is spread over
    several devices is moved for that.
    """
    pixels, taps, features = math.prod(x.shape[1:-1]), math.prod(kernel.shape[:-2]), kernel.shape[-1]
    together = max(1, PRODUCTS // max(1, pixels * taps * features))
    if pixels >= taps or len(x) <= together:
        return _at_once(x, kernel, pads)
    whole = len(x) // together * together
    parts = lax.map(lambda part: _at_once(part, kernel, pads), x[:whole].reshape(-1, together, *x.shape[1:]))
    y = parts.reshape(whole, *parts.shape[2:])
    return y if whole == len(x) else jnp.concatenate([y, _at_once(x[whole:], kernel, pads)])


def _at_once(x: jax.Array, kernel: jax.Array, pads: Sequence[tuple[int, int]]) -> jax.Array:
    *taps, channels, features = kernel.shape
    y = rowwise(x, jnp.moveaxis(kernel, -2, 0).reshape(channels, -1))
    y = y.reshape(*x.shape[:-1], *taps, features)
    for axis, (count, (low, high)) in enumerate(zip(taps, pads, strict=True), 1):
        # The axis of this one's taps: those of the axes before it are summed over.
        each = 1 + len(taps)
        terms = [lax.index_in_dim(y, tap, each, keepdims=False) for tap in range(count)]
        moved = [_moved(term, axis, low - tap, high - (count - 1 - tap)) for tap, term in enumerate(terms)]
        # As an array of its own: fused with the next axis, every sum would be computed once for each of its taps.
        y = lax.optimization_barrier(functools.reduce(jnp.add, moved))
    return y


def _moved(x: jax.Array, axis: int, low: int, high: int) -> jax.Array:
    """With so many zeros more at the two ends of an axis, or so many entries less."""
    edges = [(0, 0, 0)] * x.ndim
    edges[axis] = (low, high, 0)
    return lax.pad(x, jnp.zeros((), x.dtype), edges)
