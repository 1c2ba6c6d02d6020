"""Cross-correlation, in the formulation that XLA computes fastest."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
from jax import lax

from mathdnn_jax.nets import winograd
from mathdnn_jax.nets.layer import Shape

LARGE_KERNEL = 64
"""From this many taps on, patches times a matrix is faster than XLA's own convolution on a CPU."""

PATCH_ENTRIES = 2**26
"""So many entries of patches are made at once; of larger images one row of outputs after the other."""


def correlate(
    x: jax.Array,
    kernel: jax.Array,
    strides: Shape,
    pads: Sequence[tuple[int, int]],
    dilations: Shape,
    groups: int,
    input_dilations: Shape | None = None,
) -> jax.Array:
    """X (batch, n_1, …, n_r, I), kernel (k_1, …, k_r, I/G, O) → (batch, m_1, …, m_r, O), zeros all around x."""
    spatial = kernel.ndim - 2
    taps = math.prod(kernel.shape[:-2])
    plain = groups == 1 and input_dilations is None and set(dilations) == {1}
    if plain and (taps >= LARGE_KERNEL or taps == 1):
        if any(low or high for low, high in pads):
            x = jnp.pad(x, ((0, 0), *pads, (0, 0)))
        return _by_patches(x, kernel, strides)
    if plain and set(strides) == {1} and winograd.pays(x, kernel, pads):
        return _by_winograd(x, kernel, tuple(pads))
    letters = "DHW"[-spatial:]
    return lax.conv_general_dilated(
        x,
        kernel,
        strides,
        list(pads),
        lhs_dilation=input_dilations,
        rhs_dilation=dilations,
        dimension_numbers=(f"N{letters}C", f"{letters}IO", f"N{letters}C"),
        feature_group_count=groups,
    )


@partial(jax.custom_jvp, nondiff_argnums=(2,))
def _by_winograd(x: jax.Array, kernel: jax.Array, pads: tuple[tuple[int, int], ...]) -> jax.Array:
    """By Winograd's algorithm on a CPU, by XLA elsewhere."""
    y: jax.Array = lax.platform_dependent(
        x, kernel, cpu=partial(winograd.winograd, pads=pads), default=partial(_by_definition, pads=pads)
    )
    return y


@_by_winograd.defjvp
def _(
    pads: tuple[tuple[int, int], ...], primals: tuple[jax.Array, jax.Array], tangents: tuple[jax.Array, jax.Array]
) -> tuple[jax.Array, jax.Array]:
    # Gradients are XLA's own convolutions: its transposes of Winograd's slices would be slower.
    (x, kernel), (dx, dkernel) = primals, tangents
    tangent = _by_definition(dx, kernel, pads) + _by_definition(x, dkernel, pads)
    return _by_winograd(x, kernel, pads), tangent


def _by_definition(x: jax.Array, kernel: jax.Array, pads: tuple[tuple[int, int], ...]) -> jax.Array:
    return lax.conv_general_dilated(x, kernel, (1, 1), pads, dimension_numbers=("NHWC", "HWIO", "NHWC"))


def _by_patches(x: jax.Array, kernel: jax.Array, strides: Shape) -> jax.Array:
    """The matrix of all patches times the kernel as a matrix, whose reshaping costs nothing."""
    *extents, _, features = kernel.shape
    outputs = tuple((n - k) // s + 1 for n, k, s in zip(x.shape[1:-1], extents, strides, strict=True))
    matrix = kernel.reshape(-1, features)

    def rows(first: jax.Array) -> jax.Array:
        window = lax.dynamic_slice_in_dim(x, first, extents[0], axis=1)
        return _patches(window, extents, (1, *strides[1:]), (1, *outputs[1:])) @ matrix

    if len(x) * math.prod(outputs) * len(matrix) <= PATCH_ENTRIES:
        return _patches(x, extents, strides, outputs) @ matrix
    stacked = lax.map(rows, jnp.arange(outputs[0], dtype=jnp.int32) * strides[0])
    return jnp.moveaxis(stacked, 0, 1).reshape(len(x), *outputs, features)


def _patches(x: jax.Array, extents: Sequence[int], strides: Shape, outputs: Shape) -> jax.Array:
    """(batch, n_1, …, n_r, C) → (batch, m_1, …, m_r, k_1 … k_r C), axis after axis, by slices and no arithmetic."""
    # The last axis first, so that the taps end up in C order before the channels.
    for axis in reversed(range(1, x.ndim - 1)):
        extent, stride, count = extents[axis - 1], strides[axis - 1], outputs[axis - 1]
        if extent == x.shape[axis] and count == 1:
            x = jnp.moveaxis(x, axis, -2)
            x = jnp.expand_dims(x.reshape(*x.shape[:-2], -1), axis)
            continue
        slices = [lax.slice_in_dim(x, t, t + (count - 1) * stride + 1, stride, axis) for t in range(extent)]
        x = jnp.concatenate(slices, axis=-1) if extent > 1 else slices[0]
    return x
