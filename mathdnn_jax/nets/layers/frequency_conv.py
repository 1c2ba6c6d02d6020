"""Convolution by products in the frequency domain, for kernels almost as large as their images."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np

from mathdnn_jax.errors import ConfigurationError
from mathdnn_jax.nets.layers.layer import Layer, Shape, Sizes, Slot, Values, check_spatial, sizes, whole, windows, zeros


@dataclass(frozen=True)
class FrequencyConv(Layer):
    """What `Conv` computes with a `kernel_size` kernel at stride 1 without padding, from the kernel's spectrum.

    The image is cut into tiles of t_1 × t_2 pixels, which overlap by k − 1 and yield t − k + 1 outputs along each axis;
    Y = X̂ ⊙ conj(K̂) is summed over the input channels, X̂ being the tile's discrete Fourier transform, and the outputs
    that no tile wraps around are kept (overlap-save). One output costs t_1 (⌊t_2/2⌋ + 1) complex products for
    (t_1 − k_1 + 1)(t_2 − k_2 + 1) outputs together, instead of k_1 k_2 real ones for each. Any image of at least k
    pixels along each axis will do, whatever the tile. Events (H, W, I) → (H − k_1 + 1, W − k_2 + 1, O).

    Parameters: `spectrum` (2, t_1 (⌊t_2/2⌋ + 1), I, O), the real and imaginary parts of conj(K̂), which
    `kernel_spectrum` makes; and `bias` (O,). They take 2 t_1 (⌊t_2/2⌋ + 1)/(k_1 k_2) times the kernel's memory. Both
    start at zero: the layer is made from a trained one, by `mathdnn_jax.frequency_domain`.

    Attributes:
        features: O.
        kernel_size: k, the extents of the kernel that the spectrum is of; one number stands for a square.
        tile: t, at least k.
        bias: whether there is b.

    Raises:
        ConfigurationError: sizes that describe no such convolution.
        EventShapeError, ImageError: (when applied) the wrong number of axes, or an image that is too small.

    Source: Mathieu, Henaff, LeCun, "Fast training of convolutional networks through FFTs", 2013; Oppenheim, Schafer,
    "Discrete-time signal processing", section 8.7, for overlap-save.
    """

    features: int
    kernel_size: Sizes
    tile: Sizes
    bias: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "features", whole(self.features, "features"))
        for name in ("kernel_size", "tile"):
            object.__setattr__(self, name, sizes(getattr(self, name), 2, name))
        if any(t < k for t, k in zip(self.tiles, self.kernel, strict=True)):
            raise ConfigurationError(f"a tile holds the kernel, given tile={self.tile}, kernel_size={self.kernel_size}")

    @property
    def kernel(self) -> Shape:
        """The kernel's extent along each axis."""
        return cast(Shape, self.kernel_size)

    @property
    def tiles(self) -> Shape:
        """The tile's extent along each axis."""
        return cast(Shape, self.tile)

    @property
    def frequencies(self) -> int:
        """How many complex frequencies a real tile has."""
        return self.tiles[0] * (self.tiles[1] // 2 + 1)

    @property
    def event_ndims(self) -> int:
        """Two spatial axes and the channels."""
        return 3

    def output_shape(self, input_shape: Shape) -> Shape:
        """(H − k_1 + 1, W − k_2 + 1, O)."""
        spatial = check_spatial(input_shape, 2, self.kind)
        return (*windows(spatial, self.kernel, (1, 1), ((0, 0), (0, 0)), self.kind), self.features)

    def tile_counts(self, input_shape: Shape) -> Shape:
        """How many tiles cover an image, along each axis."""
        outputs = self.output_shape(input_shape)[:2]
        return tuple(-(-m // (t - k + 1)) for m, t, k in zip(outputs, self.tiles, self.kernel, strict=True))

    def slots(self, input_shape: Shape) -> dict[str, dict[str, Slot]]:
        """The spectrum and the bias."""
        slots = {"spectrum": Slot((2, self.frequencies, input_shape[-1], self.features), zeros)}
        if self.bias:
            slots["bias"] = Slot((self.features,), zeros)
        return {"params": slots}

    def apply(
        self, values: Values, x: jax.Array, *, train: bool = False, key: jax.Array | None = None
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """The convolution, in the spectrum's dtype."""
        del train, key
        spectrum = values["params"]["spectrum"]
        tiles = self._cut(x.astype(spectrum.dtype))
        real, imaginary = _transform(tiles, self.tiles)
        count = real.shape[1]
        # The spectrum, by far the largest array, is read once and never cut in two, which would copy it.
        parts = jnp.concatenate([real, imaginary], axis=1)
        products = jnp.concatenate([parts, parts]) @ spectrum.reshape(-1, *spectrum.shape[2:])
        by_real, by_imaginary = products[: self.frequencies], products[self.frequencies :]
        real = by_real[:, :count] - by_imaginary[:, count:]
        imaginary = by_imaginary[:, :count] + by_real[:, count:]
        y = self._join(_transform_back(real, imaginary, self.kernel, self.tiles), x.shape)
        return (y + values["params"]["bias"] if self.bias else y), {}

    def _cut(self, x: jax.Array) -> jax.Array:
        """(N, H, W, I) → (t_1, t_2, N n_1 n_2, I)."""
        counts, steps = self.tile_counts(x.shape[1:]), self._steps
        ends = [(n - 1) * s + t for n, s, t in zip(counts, steps, self.tiles, strict=True)]
        # A single tile may be larger than the image.
        x = jnp.pad(x, ((0, 0), *((0, end - n) for end, n in zip(ends, x.shape[1:3], strict=True)), (0, 0)))
        rows = jnp.stack([x[:, i * steps[0] : i * steps[0] + self.tiles[0]] for i in range(counts[0])], axis=1)
        both = [rows[:, :, :, j * steps[1] : j * steps[1] + self.tiles[1]] for j in range(counts[1])]
        tiles = jnp.moveaxis(jnp.stack(both, axis=2), (3, 4), (0, 1))
        return tiles.reshape(*self.tiles, -1, x.shape[-1])

    def _join(self, y: jax.Array, shape: Shape) -> jax.Array:
        """(s_1, s_2, N n_1 n_2, O) → (N, m_1, m_2, O)."""
        counts = self.tile_counts(shape[1:])
        y = y.reshape(*self._steps, shape[0], *counts, self.features)
        y = y.transpose(2, 3, 0, 4, 1, 5)
        height, width, _ = self.output_shape(shape[1:])
        y = y.reshape(shape[0], counts[0] * self._steps[0], counts[1] * self._steps[1], self.features)
        return y[:, :height, :width]

    @property
    def _steps(self) -> Shape:
        return tuple(t - k + 1 for t, k in zip(self.tiles, self.kernel, strict=True))


def kernel_spectrum(kernel: np.ndarray, tile: Shape) -> np.ndarray:
    """Kernel (k_1, k_2, I, O) → its `FrequencyConv.spectrum`, computed in float64 and rounded to the kernel's dtype.

    One input channel after the other, so that beside the result only a part of it in float64 is held.
    """
    columns, rows = _half(tile[1]).conj().T[: kernel.shape[1]], _full(tile[0]).conj()[:, : kernel.shape[0]]
    frequencies = len(rows) * columns.shape[1]
    spectrum = np.empty((2, frequencies, *kernel.shape[2:]), kernel.dtype)
    for channel in range(kernel.shape[2]):
        taps = kernel[:, :, channel].astype(np.float64)
        along = np.tensordot(columns.T, taps, (1, 1))
        both = np.tensordot(rows, along, (1, 1)).reshape(frequencies, -1)
        spectrum[0, :, channel], spectrum[1, :, channel] = both.real, -both.imag
    return spectrum


def _transform(tiles: jax.Array, tile: Shape) -> tuple[jax.Array, jax.Array]:
    """(t_1, t_2, M, I) → the real and imaginary parts (frequencies, M, I) of the transform, by two matrices.

    So small transforms are products of matrices, which need no transposition of what is transformed.
    """
    columns, rows = _half(tile[1]).conj(), _full(tile[0]).conj()
    half = columns.shape[0]
    first = jnp.einsum("gq,pqmi->pgmi", _constant(np.concatenate([columns.real, columns.imag]), tiles), tiles)
    first = jnp.concatenate([first[:, :half], first[:, half:]])
    matrix = np.block([[rows.real, -rows.imag], [rows.imag, rows.real]])
    both = (_constant(matrix, tiles) @ first.reshape(2 * tile[0], -1)).reshape(2, tile[0] * half, *tiles.shape[2:])
    return both[0], both[1]


def _transform_back(real: jax.Array, imaginary: jax.Array, kernel: Shape, tile: Shape) -> jax.Array:
    """Parts (frequencies, M, O) → (s_1, s_2, M, O), the outputs that no tile wraps around and no others."""
    half = tile[1] // 2 + 1
    steps = [t - k + 1 for t, k in zip(tile, kernel, strict=True)]
    rows = _full(tile[0])[: steps[0]]
    parts = jnp.concatenate([real, imaginary]).reshape(2 * tile[0], -1)
    matrix = np.block([[rows.real, -rows.imag], [rows.imag, rows.real]])
    lines = (_constant(matrix, real) @ parts).reshape(2, steps[0], half, -1)
    # Each frequency stands for its conjugate too, but for the first and, of an even tile, the last.
    twice = np.full(half, 2.0)
    twice[0] = 1
    if tile[1] % 2 == 0:
        twice[-1] = 1
    columns = _half(tile[1]).T[: steps[1]] * twice / math.prod(tile)
    matrix = np.concatenate([columns.real, -columns.imag], axis=1)
    y: jax.Array = _constant(matrix, real) @ jnp.concatenate([lines[0], lines[1]], axis=1)
    return y.reshape(*steps, *real.shape[1:])


def _full(n: int) -> np.ndarray:
    """exp(2πi f p/n) (n, n)."""
    return np.asarray(np.exp(2j * np.pi * (np.outer(np.arange(n), np.arange(n)) % n) / n))


def _half(n: int) -> np.ndarray:
    """Its rows of the frequencies that a real signal needs (⌊n/2⌋ + 1, n)."""
    return _full(n)[: n // 2 + 1]


def _constant(matrix: np.ndarray, like: jax.Array) -> Any:
    return jnp.asarray(matrix, like.dtype)
