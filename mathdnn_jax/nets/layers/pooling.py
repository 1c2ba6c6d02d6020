"""Pooling, and its counterpart, repetition; with PyTorch's semantics, channels last."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import cast

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from mathdnn_jax.errors import ConfigurationError
from mathdnn_jax.nets.layers.layer import Layer, Shape, Sizes, Values, check_spatial, sizes, windows


@dataclass(frozen=True)
class Pool(Layer):
    """What both kinds of pooling share: a window, a stride, a padding; tuples once built."""

    kernel_size: Sizes
    stride: Sizes | None = None
    padding: Sizes = 0

    def __post_init__(self) -> None:
        kernel = (self.kernel_size,) * 2 if isinstance(self.kernel_size, int) else tuple(self.kernel_size)
        kernel = sizes(kernel, len(kernel), "kernel_size")
        set_field = object.__setattr__
        set_field(self, "kernel_size", kernel)
        set_field(self, "stride", sizes(kernel if self.stride is None else self.stride, len(kernel), "stride"))
        set_field(self, "padding", sizes(self.padding, len(kernel), "padding", least=0))
        if any(2 * p > k for p, k in zip(cast(Shape, self.padding), kernel, strict=True)):
            raise ConfigurationError(f"padding={self.padding} is more than half of kernel_size={kernel}")

    @property
    def kernel(self) -> Shape:
        """The window's extent along each spatial axis."""
        return cast(Shape, self.kernel_size)

    @property
    def strides(self) -> Shape:
        """The stride along each spatial axis."""
        return cast(Shape, self.stride)

    @property
    def pads(self) -> tuple[tuple[int, int], ...]:
        """The padding (low, high) of each spatial axis."""
        return tuple((p, p) for p in cast(Shape, self.padding))

    @property
    def event_ndims(self) -> int:
        """The spatial axes and the channels."""
        return len(self.kernel) + 1

    def output_shape(self, input_shape: Shape) -> Shape:
        """(m_1, …, m_r, C), m = ⌊(n + 2 p − k)/s⌋ + 1."""
        spatial = check_spatial(input_shape, len(self.kernel), self.kind)
        return (*windows(spatial, self.kernel, self.strides, self.pads, self.kind), input_shape[-1])


@dataclass(frozen=True)
class MaxPool(Pool):
    """The greatest entry of each window, channel by channel; padding never wins.

    Attributes:
        kernel_size: the window; one number stands for a square.
        stride: the window's own size by default.
        padding: at most half the window, for every axis.

    Raises:
        ConfigurationError: sizes that describe no pooling.
        EventShapeError, ImageError: (when applied) the wrong number of axes, or an image that is too small.

    Source: `torch.nn.MaxPool2d` with ceil_mode=False.
    """

    def apply(
        self, values: Values, x: jax.Array, *, train: bool = False, key: jax.Array | None = None
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """The greatest entries."""
        del values, train, key
        lowest = np.array(-np.inf, x.dtype)
        window, strides = (1, *self.kernel, 1), (1, *self.strides, 1)
        return lax.reduce_window(x, lowest, lax.max, window, strides, ((0, 0), *self.pads, (0, 0))), {}


@dataclass(frozen=True)
class AvgPool(Pool):
    """The mean of each window, channel by channel.

    Attributes:
        kernel_size, stride, padding: as those of `MaxPool`.
        count_include_pad: whether the zeros of the padding count, as they do in PyTorch by default.

    Raises:
        ConfigurationError, EventShapeError, ImageError: as for `MaxPool`.

    Source: `torch.nn.AvgPool2d` with ceil_mode=False.
    """

    count_include_pad: bool = True

    def apply(
        self, values: Values, x: jax.Array, *, train: bool = False, key: jax.Array | None = None
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """The means."""
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
class Upsample(Layer):
    """Repeats every pixel `factor` times along each spatial axis: the nearest neighbour.

    Attributes:
        factor: a whole number for each spatial axis; one number stands for both axes of an image.

    Raises:
        ConfigurationError: a factor is less than 1.
        EventShapeError: (when applied) the wrong number of spatial axes.

    Source: `torch.nn.Upsample(scale_factor=factor, mode="nearest")`.
    """

    factor: Sizes = 2

    def __post_init__(self) -> None:
        factors = (self.factor,) * 2 if isinstance(self.factor, int) else tuple(self.factor)
        object.__setattr__(self, "factor", sizes(factors, len(factors), "factor"))

    @property
    def factors(self) -> Shape:
        """The factor along each spatial axis."""
        return cast(Shape, self.factor)

    @property
    def event_ndims(self) -> int:
        """The spatial axes and the channels."""
        return len(self.factors) + 1

    def output_shape(self, input_shape: Shape) -> Shape:
        """(n_1 factor_1, …, C)."""
        spatial = check_spatial(input_shape, len(self.factors), self.kind)
        return (*(n * f for n, f in zip(spatial, self.factors, strict=True)), input_shape[-1])

    def apply(
        self, values: Values, x: jax.Array, *, train: bool = False, key: jax.Array | None = None
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """The repeated pixels."""
        del values, train, key
        for axis, factor in enumerate(self.factors, start=1):
            x = jnp.repeat(x, factor, axis=axis)
        return x, {}
