"""Transposed convolution with PyTorch's semantics, channels last."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import jax

from mathdnn_jax.errors import ConfigurationError, ImageError
from mathdnn_jax.nets.kernels.correlate import correlate
from mathdnn_jax.nets.layers.convolution import Convolution
from mathdnn_jax.nets.layers.layer import Shape, Sizes, Slot, Values, check_spatial, sizes


@dataclass(frozen=True)
class ConvTranspose(Convolution):
    """The transpose of a convolution's linear map, with PyTorch's sizes: y_{n s + t d − p, o} += w_{t,i,o} x_{n,i}.

    Events (n_1, …, n_r, I) → (m_1, …, m_r, O) with m = (n − 1) s − 2 p + d (k − 1) + output_padding + 1. Parameters:
    `kernel` (k_1, …, k_r, I/G, O) and `bias` (O,). The kernel is kept as the forward pass wants it, as a correlation of
    the stride-dilated image: kernel[t, i, o] = w[k − 1 − t], the spatial axes turned round. PyTorch's weight
    (I, O/G, k_1, …, k_r) becomes it by turning the spatial axes round, splitting I into (G, I/G), moving the axes into
    the order k, I/G, G, O/G and joining the last two. Drawn from `torch_default` with fan-in O/G · Π k, which is what
    PyTorch takes for the fan-in here.

    Attributes:
        features: O.
        kernel_size, stride, dilation, groups, bias: as those of `Conv`.
        padding: p, how much is cut off at both ends of each axis: one number, or one per axis.
        output_padding: rows added at the high end, less than the stride or the dilation.

    Raises:
        ConfigurationError: sizes that describe no transposed convolution.
        EventShapeError, ImageError: (when applied) as for `Conv`.

    Source: `torch.nn.ConvTranspose2d`.
    """

    padding: Sizes = 0
    output_padding: Sizes = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        ndims = len(self.kernel)
        for name in ("padding", "output_padding"):
            object.__setattr__(self, name, sizes(getattr(self, name), ndims, name, least=0))
        for extra, s, d in zip(self.extras, self.strides, self.dilations, strict=True):
            if extra >= max(s, d):
                raise ConfigurationError(
                    f"output_padding={self.extras} must be less than stride={self.strides} or dilation={self.dilations}"
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
        spatial = check_spatial(input_shape, len(self.kernel), self.kind)
        self._group_channels(input_shape)
        sizes_out = tuple(
            (n - 1) * s - 2 * p + k + extra
            for n, s, p, k, extra in zip(spatial, self.strides, self.crops, self.reach, self.extras, strict=True)
        )
        if min(sizes_out) < 1 or min(spatial) < 1:
            raise ImageError(f"{self.kind} would return an image of {sizes_out} from one of {spatial}: too small")
        return (*sizes_out, self.features)

    def slots(self, input_shape: Shape) -> dict[str, dict[str, Slot]]:
        """The kernel (k_1, …, k_r, I/G, O) and the bias (O,)."""
        fan_in = self.features // self.groups
        for k in self.kernel:
            fan_in *= k
        return self._slots(input_shape, fan_in)

    def apply(
        self, values: Values, x: jax.Array, *, train: bool = False, key: jax.Array | None = None
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """The transposed convolution, in the kernel's dtype."""
        del train, key
        params = values["params"]
        kernel = params["kernel"]
        pads = tuple(
            (k - 1 - p, k - 1 - p + extra) for k, p, extra in zip(self.reach, self.crops, self.extras, strict=True)
        )
        ones = (1,) * len(pads)
        y = correlate(x.astype(kernel.dtype), kernel, ones, pads, self.dilations, self.groups, self.strides)
        return (y + params["bias"] if self.bias else y), {}
