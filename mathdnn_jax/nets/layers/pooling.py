"""Pooling and its counterpart, upsampling by repetition, with PyTorch's semantics, channels last."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import cast

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from mathdnn_jax.errors import ConfigurationError
from mathdnn_jax.nets.layers.layer import Values
from mathdnn_jax.nets.layers.spatial import Spatial, Windowed, set_sizes, windows
from mathdnn_jax.nets.shapes import Shape, Sizes


@dataclass(frozen=True)
class Pool(Windowed):
    """The part that both kinds of pooling share: the window, the stride and the padding."""

    kernel_size: Sizes
    stride: Sizes | None = None
    padding: Sizes = 0

    def __post_init__(self) -> None:
        set_sizes(self, "kernel_size")
        if self.stride is None:
            object.__setattr__(self, "stride", self.kernel)
        set_sizes(self, "stride", self.spatial_ndims)
        set_sizes(self, "padding", self.spatial_ndims, least=0)
        if any(2 * p > k for p, k in zip(cast(Shape, self.padding), self.kernel, strict=True)):
            raise ConfigurationError(
                f"got padding={self.padding} and kernel_size={self.kernel}; expected a padding of at most half the "
                f"window"
            )

    @property
    def pads(self) -> tuple[tuple[int, int], ...]:
        """The padding (low, high) of each spatial axis."""
        return tuple((p, p) for p in cast(Shape, self.padding))

    def output_shape(self, input_shape: Shape) -> Shape:
        """(m_1, …, m_r, C) with m = ⌊(n + 2 p − k)/s⌋ + 1."""
        spatial = self.spatial_shape(input_shape)
        return (*windows(spatial, self.kernel, self.strides, self.pads, self.kind), input_shape[-1])


@dataclass(frozen=True)
class MaxPool(Pool):
    """The greatest entry of each window, channel by channel; the padding is never the greatest.

    Attributes:
        kernel_size: The window; one number stands for a square.
        stride: The distance between windows, by default the size of the window.
        padding: The padding at both ends of each axis, at most half the window.

    Raises:
        ConfigurationError: The sizes do not describe a pooling.
        EventShapeError, ImageError: (when applied) The number of axes is wrong, or the image is too small.

    Source: `torch.nn.MaxPool2d` with ceil_mode=False.
    """

    def apply(
        self, values: Values, x: jax.Array, *, train: bool = False, key: jax.Array | None = None
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Take the greatest entries."""
        del values, train, key
        lowest = np.array(-np.inf, x.dtype)
        window, strides = (1, *self.kernel, 1), (1, *self.strides, 1)
        return lax.reduce_window(x, lowest, lax.max, window, strides, ((0, 0), *self.pads, (0, 0))), {}


@dataclass(frozen=True)
class AvgPool(Pool):
    """The mean of each window, channel by channel.

    Attributes:
        kernel_size, stride, padding: As for `MaxPool`.
        count_include_pad: Whether the mean includes the zeros of the padding, as it does in PyTorch by default.

    Raises:
        ConfigurationError, EventShapeError, ImageError: As for `MaxPool`.

    Source: `torch.nn.AvgPool2d` with ceil_mode=False.
    """

    count_include_pad: bool = True

    def apply(
        self, values: Values, x: jax.Array, *, train: bool = False, key: jax.Array | None = None
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Take the means."""
        del values, train, key
        total = self._sum(x)
        if self.count_include_pad:
            return total / math.prod(self.kernel), {}
        return total / self._sum(jnp.ones((1, *x.shape[1:-1], 1), x.dtype)), {}

    def _sum(self, x: jax.Array) -> jax.Array:
        window, strides = (1, *self.kernel, 1), (1, *self.strides, 1)
        pads = ((0, 0), *self.pads, (0, 0))
        total: jax.Array = lax.reduce_window(x, np.zeros((), x.dtype), lax.add, window, strides, pads)
        return total


@dataclass(frozen=True)
class Upsample(Spatial):
    """Nearest-neighbour upsampling: every pixel is repeated `factor` times along each spatial axis.

    Attributes:
        factor: A whole number for each spatial axis; one number stands for both axes of an image.

    Raises:
        ConfigurationError: A factor is less than 1.
        EventShapeError: (when applied) The number of spatial axes is wrong.

    Source: `torch.nn.Upsample(scale_factor=factor, mode="nearest")`.
    """

    factor: Sizes = 2

    def __post_init__(self) -> None:
        set_sizes(self, "factor")

    @property
    def factors(self) -> Shape:
        """The factor along each spatial axis."""
        return cast(Shape, self.factor)

    @property
    def spatial_ndims(self) -> int:
        """The number of factors."""
        return len(self.factors)

    def output_shape(self, input_shape: Shape) -> Shape:
        """(n_1 factor_1, …, C)."""
        spatial = self.spatial_shape(input_shape)
        return (*(n * f for n, f in zip(spatial, self.factors, strict=True)), input_shape[-1])

    def apply(
        self, values: Values, x: jax.Array, *, train: bool = False, key: jax.Array | None = None
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Repeat the pixels."""
        del values, train, key
        for axis, factor in enumerate(self.factors, start=1):
            x = jnp.repeat(x, factor, axis=axis)
        return x, {}
