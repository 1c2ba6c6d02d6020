"""Transposed convolution with PyTorch's semantics, channels last."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import cast

import jax

from mathdnn_jax.errors import ConfigurationError, ImageError
from mathdnn_jax.nets.kernels.correlate import correlate
from mathdnn_jax.nets.layers.convolution import Convolution
from mathdnn_jax.nets.layers.layer import Slot, Values
from mathdnn_jax.nets.layers.spatial import set_sizes
from mathdnn_jax.nets.shapes import Shape, Sizes


@dataclass(frozen=True)
class ConvTranspose(Convolution):
    """The transpose of a convolution's linear map, with PyTorch's sizes: y_{n s + t d − p, o} += w_{t,i,o} x_{n,i}.

    Events (n_1, …, n_r, I) → (m_1, …, m_r, O) with m = (n − 1) s − 2 p + d (k − 1) + output_padding + 1. Parameters:
    `kernel` (k_1, …, k_r, I/G, O) and `bias` (O,). The kernel is stored in the form that the forward pass needs, which
    correlates it with the stride-dilated image: kernel[t, i, o] = w[k − 1 − t], with reversed spatial axes. To obtain
    it from PyTorch's weight (I, O/G, k_1, …, k_r), reverse the spatial axes, split I into (G, I/G), move the axes into
    the order k, I/G, G, O/G and join the last two. Both parameters are drawn from `torch_default` with fan-in
    O/G · Π k, which PyTorch uses as the fan-in here.

    Attributes:
        features: O.
        kernel_size, stride, dilation, groups, bias: As for `Conv`.
        padding: p, the number of entries cut off at both ends of each axis: one number, or one per axis.
        output_padding: The number of rows added at the high end, less than the stride or the dilation.

    Raises:
        ConfigurationError: The sizes do not describe a transposed convolution.
        EventShapeError, ImageError: (when applied) As for `Conv`.

    Source: `torch.nn.ConvTranspose2d`.
    """

    padding: Sizes = 0
    output_padding: Sizes = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        for field in ("padding", "output_padding"):
            set_sizes(self, field, self.spatial_ndims, least=0)
        for extra, s, d in zip(self.extras, self.strides, self.dilations, strict=True):
            if extra >= max(s, d):
                raise ConfigurationError(
                    f"got output_padding={self.extras}; expected less than stride={self.strides} or "
                    f"dilation={self.dilations}"
                )

    @property
    def crops(self) -> Shape:
        """The padding p along each spatial axis."""
        return cast(Shape, self.padding)

    @property
    def extras(self) -> Shape:
        """The output padding along each spatial axis."""
        return cast(Shape, self.output_padding)

    def output_shape(self, input_shape: Shape) -> Shape:
        """(m_1, …, m_r, O)."""
        spatial = self.spatial_shape(input_shape)
        self._group_channels(input_shape)
        extents = tuple(
            (n - 1) * s - 2 * p + k + extra
            for n, s, p, k, extra in zip(spatial, self.strides, self.crops, self.reach, self.extras, strict=True)
        )
        if min(extents) < 1 or min(spatial) < 1:
            raise ImageError(
                f"{self.kind} got an image of {spatial}, whose output would be {extents}; use larger images"
            )
        return (*extents, self.features)

    def slots(self, input_shape: Shape) -> dict[str, dict[str, Slot]]:
        """The kernel (k_1, …, k_r, I/G, O) and the bias (O,)."""
        return self._slots(input_shape, self.features // self.groups * math.prod(self.kernel))

    def apply(
        self, values: Values, x: jax.Array, *, train: bool = False, key: jax.Array | None = None
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Convolve, in the kernel's dtype."""
        del train, key
        params = values["params"]
        kernel = params["kernel"]
        pads = tuple(
            (k - 1 - p, k - 1 - p + extra) for k, p, extra in zip(self.reach, self.crops, self.extras, strict=True)
        )
        ones = (1,) * len(pads)
        y = correlate(x.astype(kernel.dtype), kernel, ones, pads, self.dilations, self.groups, self.strides)
        return (y + params["bias"] if self.bias else y), {}
