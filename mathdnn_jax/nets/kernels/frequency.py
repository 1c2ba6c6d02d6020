"""Two-dimensional convolution by products in the frequency domain (overlap-save), for large kernels."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mathdnn_jax.nets.shapes import Shape


def kernel_spectrum(kernel: np.ndarray, tile: Shape) -> np.ndarray:
    """Return the spectrum that `frequency_convolution` takes for a kernel.

    It is computed in float64 and rounded to the kernel's dtype. The input channels are transformed one at a time, so
    that only one channel's part of the result is held in float64.

    Args:
        kernel: (k_1, k_2, I, O).
        tile: The tile (t_1, t_2), at least as large as the kernel.

    Returns:
        The real and imaginary parts of the conjugate transform, (2, frequencies, I, O).
    """
    columns, rows = _half(tile[1]).conj().T[: kernel.shape[1]], _full(tile[0]).conj()[:, : kernel.shape[0]]
    spectrum = np.empty((2, frequency_count(tile), *kernel.shape[2:]), kernel.dtype)
    for channel in range(kernel.shape[2]):
        taps = kernel[:, :, channel].astype(np.float64)
        along = np.tensordot(columns.T, taps, (1, 1))
        both = np.tensordot(rows, along, (1, 1)).reshape(spectrum.shape[1], -1)
        spectrum[0, :, channel], spectrum[1, :, channel] = both.real, -both.imag
    return spectrum


def frequency_convolution(x: jax.Array, spectrum: jax.Array, kernel: Shape, tile: Shape) -> jax.Array:
    """x (N, H, W, I) → (N, H − k_1 + 1, W − k_2 + 1, O), the cross-correlation with the kernel of that spectrum.

    Args:
        x: The images, at least as large as the kernel.
        spectrum: (2, frequencies, I, O), as `kernel_spectrum` returns it.
        kernel: The kernel's extents (k_1, k_2).
        tile: The tile's extents (t_1, t_2).
    """
    height, width = (n - k + 1 for n, k in zip(x.shape[1:3], kernel, strict=True))
    counts = tile_counts((height, width), kernel, tile)
    frequencies = spectrum.shape[1]
    real, imaginary = _transform(_cut(x, counts, kernel, tile), tile)
    columns = real.shape[1]
    # The spectrum, by far the largest array, is read once; cutting it in two would copy it.
    parts = jnp.concatenate([real, imaginary], axis=1)
    products = jnp.concatenate([parts, parts]) @ spectrum.reshape(-1, *spectrum.shape[2:])
    by_real, by_imaginary = products[:frequencies], products[frequencies:]
    real = by_real[:, :columns] - by_imaginary[:, columns:]
    imaginary = by_imaginary[:, :columns] + by_real[:, columns:]
    return _join(_transform_back(real, imaginary, kernel, tile), len(x), counts)[:, :height, :width]


def frequency_count(tile: Shape) -> int:
    """Return how many complex frequencies the transform of a real tile (t_1, t_2) has, t_1 (⌊t_2/2⌋ + 1)."""
    return tile[0] * (tile[1] // 2 + 1)


def tile_counts(outputs: Shape, kernel: Shape, tile: Shape) -> Shape:
    """Return how many tiles cover an image with this many outputs, along each axis."""
    return tuple(-(-m // step) for m, step in zip(outputs, _steps(kernel, tile), strict=True))


def _steps(kernel: Shape, tile: Shape) -> Shape:
    """The outputs that one tile yields along each axis, t − k + 1, which is also the distance between tiles."""
    return tuple(t - k + 1 for t, k in zip(tile, kernel, strict=True))


def _cut(x: jax.Array, counts: Shape, kernel: Shape, tile: Shape) -> jax.Array:
    """(N, H, W, I) → overlapping tiles (t_1, t_2, N n_1 n_2, I)."""
    steps = _steps(kernel, tile)
    ends = [(n - 1) * s + t for n, s, t in zip(counts, steps, tile, strict=True)]
    # A single tile may be larger than the image.
    x = jnp.pad(x, ((0, 0), *((0, end - n) for end, n in zip(ends, x.shape[1:3], strict=True)), (0, 0)))
    rows = jnp.stack([x[:, i * steps[0] : i * steps[0] + tile[0]] for i in range(counts[0])], axis=1)
    both = [rows[:, :, :, j * steps[1] : j * steps[1] + tile[1]] for j in range(counts[1])]
    tiles = jnp.moveaxis(jnp.stack(both, axis=2), (3, 4), (0, 1))
    return tiles.reshape(*tile, -1, x.shape[-1])


def _join(y: jax.Array, images: int, counts: Shape) -> jax.Array:
    """The outputs of all tiles (s_1, s_2, N n_1 n_2, O) → images (N, n_1 s_1, n_2 s_2, O)."""
    *steps, _, features = y.shape
    y = y.reshape(*steps, images, *counts, features)
    y = y.transpose(2, 3, 0, 4, 1, 5)
    return y.reshape(images, counts[0] * steps[0], counts[1] * steps[1], features)


def _transform(tiles: jax.Array, tile: Shape) -> tuple[jax.Array, jax.Array]:
    """(t_1, t_2, M, I) → the real and imaginary parts (frequencies, M, I) of the transform.

    Transforms this small are computed as products with two matrices, for which the tiles need not be transposed.
    """
    columns, rows = _half(tile[1]).conj(), _full(tile[0]).conj()
    half = columns.shape[0]
    first = jnp.einsum("gq,pqmi->pgmi", _constant(np.concatenate([columns.real, columns.imag]), tiles), tiles)
    first = jnp.concatenate([first[:, :half], first[:, half:]])
    both = (_constant(_as_real(rows), tiles) @ first.reshape(2 * tile[0], -1)).reshape(
        2, tile[0] * half, *tiles.shape[2:]
    )
    return both[0], both[1]


def _transform_back(real: jax.Array, imaginary: jax.Array, kernel: Shape, tile: Shape) -> jax.Array:
    """Parts (frequencies, M, O) → (s_1, s_2, M, O), only the outputs that do not wrap around their tile."""
    half = tile[1] // 2 + 1
    steps = _steps(kernel, tile)
    rows = _full(tile[0])[: steps[0]]
    parts = jnp.concatenate([real, imaginary]).reshape(2 * tile[0], -1)
    lines = (_constant(_as_real(rows), real) @ parts).reshape(2, steps[0], half, -1)
    # Each frequency also stands for its conjugate, except the first and, if the tile is even, the last.
    twice = np.full(half, 2.0)
    twice[0] = 1
    if tile[1] % 2 == 0:
        twice[-1] = 1
    columns = _half(tile[1]).T[: steps[1]] * twice / math.prod(tile)
    matrix = np.concatenate([columns.real, -columns.imag], axis=1)
    y: jax.Array = _constant(matrix, real) @ jnp.concatenate([lines[0], lines[1]], axis=1)
    return y.reshape(*steps, *real.shape[1:])


def _full(n: int) -> np.ndarray:
    """The matrix exp(2πi f p/n) of the inverse discrete Fourier transform without its factor 1/n, (n, n)."""
    return np.asarray(np.exp(2j * np.pi * (np.outer(np.arange(n), np.arange(n)) % n) / n))


def _half(n: int) -> np.ndarray:
    """The rows of `_full` for the frequencies that determine a real signal, (⌊n/2⌋ + 1, n)."""
    return _full(n)[: n // 2 + 1]


def _as_real(matrix: np.ndarray) -> np.ndarray:
    """The real matrix that acts on the stacked real and imaginary parts as a complex matrix acts on the numbers."""
    return np.block([[matrix.real, -matrix.imag], [matrix.imag, matrix.real]])


def _constant(matrix: np.ndarray, like: jax.Array) -> Any:
    return jnp.asarray(matrix, like.dtype)
