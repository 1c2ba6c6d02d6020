"""Convolution with PyTorch's semantics, channels last."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, cast

import jax

from mathdnn_jax.errors import ConfigurationError, EventShapeError
from mathdnn_jax.nets.initializers import torch_default
from mathdnn_jax.nets.kernels.correlate import correlate
from mathdnn_jax.nets.layers.layer import Slot, Values
from mathdnn_jax.nets.layers.spatial import Windowed, set_sizes, windows
from mathdnn_jax.nets.shapes import Shape, Sizes, sizes, whole

Padding = int | tuple[int, ...] | tuple[tuple[int, int], ...] | Literal["same", "valid"]


@dataclass(frozen=True)
class Convolution(Windowed):
    """The part that ordinary and transposed convolutions share: the kernel, the bias and the groups."""

    features: int
    kernel_size: Sizes
    stride: Sizes = 1
    padding: Any = 0
    dilation: Sizes = 1
    groups: int = 1
    bias: bool = True

    def __post_init__(self) -> None:
        for field in ("features", "groups"):
            object.__setattr__(self, field, whole(getattr(self, field), field))
        set_sizes(self, "kernel_size")
        if not 1 <= self.spatial_ndims <= 3:
            raise ConfigurationError(f"got kernel_size={self.kernel}; a convolution has 1, 2 or 3 spatial axes")
        for field in ("stride", "dilation"):
            set_sizes(self, field, self.spatial_ndims)
        if self.features % self.groups:
            raise ConfigurationError(
                f"got features={self.features} and groups={self.groups}; features must be divisible by groups"
            )

    @property
    def dilations(self) -> Shape:
        """The distance between neighbouring kernel entries along each spatial axis."""
        return cast(Shape, self.dilation)

    @property
    def reach(self) -> Shape:
        """The dilated kernel's extent d (k − 1) + 1 along each spatial axis."""
        return tuple(d * (k - 1) + 1 for k, d in zip(self.kernel, self.dilations, strict=True))

    def _group_channels(self, input_shape: Shape) -> int:
        if input_shape[-1] % self.groups:
            raise EventShapeError(f"got {input_shape[-1]} channels, which cannot be split into groups={self.groups}")
        return input_shape[-1] // self.groups

    def _slots(self, input_shape: Shape, fan_in: int) -> dict[str, dict[str, Slot]]:
        draw = torch_default(fan_in)
        shape = (*self.kernel, self._group_channels(input_shape), self.features)
        slots = {"kernel": Slot(shape, draw)}
        if self.bias:
            slots["bias"] = Slot((self.features,), draw)
        return {"params": slots}


@dataclass(frozen=True)
class Conv(Convolution):
    """y_{n,o} = b_o + Σ_{t,i} w_{t,i,o} x_{n s + t d − p, i}, the cross-correlation that PyTorch calls convolution.

    An output channel o of group g = ⌊o G/O⌋ depends only on the input channels i of that group. Events
    (n_1, …, n_r, I) → (m_1, …, m_r, O) with m = ⌊(n + p_low + p_high − d (k − 1) − 1)/s⌋ + 1 and r = 1, 2 or 3 spatial
    axes. Parameters: `kernel` (k_1, …, k_r, I/G, O) and `bias` (O,), both drawn from `torch_default` with fan-in
    I/G · Π k.

    Attributes:
        features: O.
        kernel_size: k, with r entries; one number stands for a square.
        stride, dilation: s and d; one number stands for all axes.
        padding: The zeros around the image: one number, one number per axis, a pair (low, high) per axis, "valid" for
            none, or "same", which keeps the image's size (for stride 1 only; as in PyTorch, an odd zero goes to the
            high end).
        groups: G, a divisor of I and O.
        bias: Whether to add b.

    Raises:
        ConfigurationError: The sizes do not describe a convolution.
        EventShapeError, ImageError: (when applied) The number of axes or channels is wrong, or the image is too small.

    Source: `torch.nn.Conv1d`, `Conv2d`, `Conv3d`; course 000, Q1 and Q2.

    Example:
        >>> import jax, jax.numpy as jnp, mathdnn_jax as mj
        >>> conv = mj.nets.Conv(4, kernel_size=3, padding="same")
        >>> conv.output_shape((32, 24, 3))
        (32, 24, 4)
        >>> network = mj.Sequential(conv=conv)
        >>> variables = network.init(jax.random.key(0), jnp.zeros((1, 32, 24, 3), jnp.float32))
        >>> variables["params"]["conv"]["kernel"].shape
        (3, 3, 3, 4)
    """

    padding: Padding = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "padding", _pairs(self.padding, self.reach, self.strides))

    @property
    def pads(self) -> tuple[tuple[int, int], ...]:
        """The zeros (low, high) at both ends of each spatial axis."""
        return cast("tuple[tuple[int, int], ...]", self.padding)

    def output_shape(self, input_shape: Shape) -> Shape:
        """(m_1, …, m_r, O)."""
        spatial = self.spatial_shape(input_shape)
        self._group_channels(input_shape)
        return (*windows(spatial, self.reach, self.strides, self.pads, self.kind), self.features)

    def slots(self, input_shape: Shape) -> dict[str, dict[str, Slot]]:
        """The kernel (k_1, …, k_r, I/G, O) and the bias (O,)."""
        return self._slots(input_shape, math.prod(self.kernel) * self._group_channels(input_shape))

    def apply(
        self, values: Values, x: jax.Array, *, train: bool = False, key: jax.Array | None = None
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Convolve, in the kernel's dtype."""
        del train, key
        params = values["params"]
        kernel = params["kernel"]
        y = correlate(x.astype(kernel.dtype), kernel, self.strides, self.pads, self.dilations, self.groups)
        return (y + params["bias"] if self.bias else y), {}


def _pairs(padding: Any, reach: Shape, strides: Shape) -> tuple[tuple[int, int], ...]:
    """A padding in any of its notations as a pair (low, high) for each axis."""
    ndims = len(reach)
    if padding == "valid":
        return ((0, 0),) * ndims
    if padding == "same":
        if any(s != 1 for s in strides):
            raise ConfigurationError(f"got padding='same' and stride={strides}; 'same' needs stride 1, pad explicitly")
        return tuple(((k - 1) // 2, k - 1 - (k - 1) // 2) for k in reach)
    if isinstance(padding, Iterable) and not isinstance(padding, str):
        axes = tuple(padding)
        if len(axes) == ndims and all(isinstance(axis, Iterable) for axis in axes):
            pairs = [sizes(axis, 2, "padding", least=0) for axis in axes]
            return tuple((low, high) for low, high in pairs)
    return tuple((p, p) for p in sizes(padding, ndims, "padding", least=0))
