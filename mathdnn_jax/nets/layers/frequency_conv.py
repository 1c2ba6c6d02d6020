"""A convolution layer that computes in the frequency domain, for kernels almost as large as their images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import jax

from mathdnn_jax.errors import ConfigurationError
from mathdnn_jax.nets.kernels.frequency import frequency_convolution, frequency_count, tile_counts
from mathdnn_jax.nets.layers.layer import Slot, Values, zeros
from mathdnn_jax.nets.layers.spatial import Windowed, set_sizes, windows
from mathdnn_jax.nets.shapes import Shape, Sizes, whole


@dataclass(frozen=True)
class FrequencyConv(Windowed):
    """The result of `Conv` with the same `kernel_size`, at stride 1 and without padding, from the kernel's spectrum.

    The image is cut into tiles of t_1 × t_2 pixels, which overlap by k − 1 and yield t − k + 1 outputs along each axis.
    Y = X̂ ⊙ conj(K̂) is summed over the input channels, where X̂ is the tile's discrete Fourier transform, and the
    outputs that do not wrap around the tile are kept (overlap-save). One tile costs t_1 (⌊t_2/2⌋ + 1) complex products
    for all of its (t_1 − k_1 + 1)(t_2 − k_2 + 1) outputs together, instead of k_1 k_2 real products for each of them.
    The tile does not limit the size of the image, which need only have k pixels along each axis.
    Events (H, W, I) → (H − k_1 + 1, W − k_2 + 1, O).

    Parameters: `spectrum` (2, t_1 (⌊t_2/2⌋ + 1), I, O), the real and imaginary parts of conj(K̂), which
    `kernel_spectrum` computes; and `bias` (O,). The spectrum takes 2 t_1 (⌊t_2/2⌋ + 1)/(k_1 k_2) times the kernel's
    memory. Both start at zero, because the layer is made from a trained convolution, by `mathdnn_jax.frequency_domain`.

    Attributes:
        features: O.
        kernel_size: k, the extents of the kernel that the spectrum belongs to; one number stands for a square.
        tile: t, at least k.
        bias: Whether to add b.

    Raises:
        ConfigurationError: The sizes do not describe such a convolution.
        EventShapeError, ImageError: (when applied) The number of axes is wrong, or the image is too small.

    Source: Mathieu, Henaff, LeCun, "Fast training of convolutional networks through FFTs", 2013; Oppenheim, Schafer,
    "Discrete-time signal processing", section 8.7, for overlap-save.
    """

    features: int
    kernel_size: Sizes
    tile: Sizes
    bias: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "features", whole(self.features, "features"))
        set_sizes(self, "kernel_size", 2)
        set_sizes(self, "tile", 2)
        if any(t < k for t, k in zip(self.tiles, self.kernel, strict=True)):
            raise ConfigurationError(
                f"got tile={self.tile} and kernel_size={self.kernel_size}; a tile must be at least as large as the "
                f"kernel"
            )

    @property
    def strides(self) -> Shape:
        """One pixel along each axis."""
        return (1, 1)

    @property
    def tiles(self) -> Shape:
        """The tile's extent along each axis."""
        return cast(Shape, self.tile)

    @property
    def frequencies(self) -> int:
        """The number of complex frequencies of a real tile."""
        return frequency_count(self.tiles)

    def output_shape(self, input_shape: Shape) -> Shape:
        """(H − k_1 + 1, W − k_2 + 1, O)."""
        spatial = self.spatial_shape(input_shape)
        return (*windows(spatial, self.kernel, self.strides, ((0, 0), (0, 0)), self.kind), self.features)

    def tile_counts(self, input_shape: Shape) -> Shape:
        """How many tiles cover an image, along each axis."""
        return tile_counts(self.output_shape(input_shape)[:2], self.kernel, self.tiles)

    def slots(self, input_shape: Shape) -> dict[str, dict[str, Slot]]:
        """The spectrum and the bias."""
        slots = {"spectrum": Slot((2, self.frequencies, input_shape[-1], self.features), zeros)}
        if self.bias:
            slots["bias"] = Slot((self.features,), zeros)
        return {"params": slots}

    def apply(
        self, values: Values, x: jax.Array, *, train: bool = False, key: jax.Array | None = None
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Convolve, in the spectrum's dtype."""
        del train, key
        spectrum = values["params"]["spectrum"]
        y = frequency_convolution(x.astype(spectrum.dtype), spectrum, self.kernel, self.tiles)
        return (y + values["params"]["bias"] if self.bias else y), {}
