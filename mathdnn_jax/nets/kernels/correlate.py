"""Cross-correlation, by the algorithm that is fastest for the given shapes and platform."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from mathdnn_jax.nets.kernels import pointwise_first, winograd
from mathdnn_jax.nets.kernels.matmul import matmul_last_axis
from mathdnn_jax.nets.shapes import Shape

Algorithm = Callable[[jax.Array, jax.Array], jax.Array]

LARGE_KERNEL = 64
"""The number of taps from which multiplying patches by a matrix is faster than XLA's own convolution on a CPU."""

PATCH_ENTRIES = 2**26
"""The most entries of patches to create at once; larger images are convolved one row of outputs at a time."""

THIN_PATCH = 64
"""The most entries of a patch for which patches times a matrix is as fast, and its gradient up to 7 times as fast."""


def correlate(
    x: jax.Array,
    kernel: jax.Array,
    strides: Shape,
    pads: Sequence[tuple[int, int]],
    dilations: Shape,
    groups: int,
    input_dilations: Shape | None = None,
) -> jax.Array:
    """x (batch, n_1, …, n_r, I), kernel (k_1, …, k_r, I/G, O) → (batch, m_1, …, m_r, O), with zeros around x.

    On a CPU it uses the algorithm that was measured to be the fastest for such shapes. On other platforms it uses XLA's
    own convolution, except for 1 × 1 kernels and very large ones, which are matrix products on every platform.
    """
    taps = math.prod(kernel.shape[:-2])
    plain = groups == 1 and input_dilations is None and set(dilations) == {1}
    if plain and (taps >= LARGE_KERNEL or taps == 1):
        return _by_patches(x, kernel, strides, pads)
    window = Window(tuple(strides), tuple(pads), tuple(dilations), groups, input_dilations and tuple(input_dilations))
    definition = partial(_by_definition, window=window)
    if plain and math.prod(kernel.shape[:-1]) <= THIN_PATCH:
        return _on_cpu(partial(_by_patches, strides=strides, pads=pads), definition, x, kernel)
    if groups == 1 and window.whole and pointwise_first.pays(x, kernel):
        return _on_cpu(partial(pointwise_first.pointwise_first, pads=pads), definition, x, kernel)
    return definition(x, kernel) if groups > 1 else _convolution(x, kernel, window)


class Window(NamedTuple):
    """How a kernel moves over an image."""

    strides: Shape
    pads: tuple[tuple[int, int], ...]
    dilations: Shape
    groups: int = 1
    input_dilations: Shape | None = None

    @property
    def whole(self) -> bool:
        """Whether the window stops at every pixel and neither the image nor the kernel is dilated."""
        return {*self.strides, *self.dilations, *(self.input_dilations or ())} == {1}


def _on_cpu(algorithm: Algorithm, definition: Algorithm, x: jax.Array, kernel: jax.Array) -> jax.Array:
    y: jax.Array = lax.platform_dependent(x, kernel, cpu=algorithm, default=definition)
    return y


def _by_definition(x: jax.Array, kernel: jax.Array, window: Window, axes: str = "N*C *IO N*C") -> jax.Array:
    """XLA's convolution. `axes` names the axes of image, kernel and result, with * for the spatial ones."""
    image, taps, result = axes.replace("*", "DHW"[-len(window.strides) :]).split()
    return lax.conv_general_dilated(
        x,
        kernel,
        window.strides,
        window.pads,
        lhs_dilation=window.input_dilations,
        rhs_dilation=window.dilations,
        dimension_numbers=(image, taps, result),
        feature_group_count=window.groups,
    )


@partial(jax.custom_jvp, nondiff_argnums=(2,))
def _convolution(x: jax.Array, kernel: jax.Array, window: Window) -> jax.Array:
    """XLA's convolution, or Winograd's where it is faster on a CPU, with gradients that XLA computes fast on a CPU."""
    definition = partial(_by_definition, window=window)
    if window.whole and window.input_dilations is None and winograd.pays(x, kernel, window.pads):
        return _on_cpu(partial(winograd.winograd, pads=window.pads), definition, x, kernel)
    return definition(x, kernel)


@_convolution.defjvp
def _(
    window: Window, primals: tuple[jax.Array, jax.Array], tangents: tuple[jax.Array, jax.Array]
) -> tuple[jax.Array, jax.Array]:
    # Both terms are convolutions. A gradient needs their transposes, which have the order of axes that XLA's fast path
    # on a CPU requires. Outside of loops XLA takes that path for other orders too; inside loops it does not, and a
    # gradient then takes a hundred times as long.
    (x, kernel), (dx, dkernel) = primals, tangents
    definition = partial(_by_definition, window=window)
    tangent = _on_cpu(partial(_along_image, window=window), definition, dx, kernel)
    return _convolution(x, kernel, window), tangent + _on_cpu(
        partial(_along_kernel, window=window), definition, x, dkernel
    )


def _along_image(x: jax.Array, kernel: jax.Array, window: Window) -> jax.Array:
    """The convolution. Its transpose in x convolves y with a kernel stored in memory as (k_1, …, k_r, O, I)."""
    return _by_definition(x, jnp.swapaxes(kernel, -1, -2), window, "N*C *OI N*C")


def _along_kernel(x: jax.Array, kernel: jax.Array, window: Window) -> jax.Array:
    """The convolution. Its transpose in the kernel convolves I images of N channels with y as the kernel."""
    images, taps = jnp.swapaxes(x, 0, -1), jnp.moveaxis(kernel, -2, 0)
    return jnp.moveaxis(_by_definition(images, taps, window, "C*N I*O *NC"), -2, 0)


def _by_patches(x: jax.Array, kernel: jax.Array, strides: Shape, pads: Sequence[tuple[int, int]]) -> jax.Array:
    """The matrix of all patches times the kernel as a matrix; reshaping the kernel costs nothing."""
    if any(low or high for low, high in pads):
        x = lax.pad(x, jnp.zeros((), x.dtype), ((0, 0, 0), *((low, high, 0) for low, high in pads), (0, 0, 0)))
    *extents, _, features = kernel.shape
    outputs = tuple((n - k) // s + 1 for n, k, s in zip(x.shape[1:-1], extents, strides, strict=True))
    matrix = kernel.reshape(-1, features)

    def rows(first: jax.Array) -> jax.Array:
        window = lax.dynamic_slice_in_dim(x, first, extents[0], axis=1)
        return matmul_last_axis(_patches(window, extents, (1, *strides[1:]), (1, *outputs[1:])), matrix)

    if len(x) * math.prod(outputs) * len(matrix) <= PATCH_ENTRIES:
        return matmul_last_axis(_patches(x, extents, strides, outputs), matrix)
    stacked = lax.map(rows, jnp.arange(outputs[0], dtype=jnp.int32) * strides[0])
    return jnp.moveaxis(stacked, 0, 1).reshape(len(x), *outputs, features)


def _patches(x: jax.Array, extents: Sequence[int], strides: Shape, outputs: Shape) -> jax.Array:
    """(batch, n_1, …, n_r, C) → (batch, m_1, …, m_r, k_1 … k_r C), one axis after another, by slicing alone."""
    # The last axis comes first, so that the taps end up in C order before the channels.
    for axis in reversed(range(1, x.ndim - 1)):
        extent, stride, count = extents[axis - 1], strides[axis - 1], outputs[axis - 1]
        if extent == x.shape[axis] and count == 1:
            x = jnp.moveaxis(x, axis, -2)
            x = jnp.expand_dims(x.reshape(*x.shape[:-2], math.prod(x.shape[-2:])), axis)
            continue
        slices = [lax.slice_in_dim(x, t, t + (count - 1) * stride + 1, stride, axis) for t in range(extent)]
        x = jnp.concatenate(slices, axis=-1) if extent > 1 else slices[0]
    return x
