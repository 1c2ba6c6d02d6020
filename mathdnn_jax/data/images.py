"""Scaling images to the unit interval."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mathdnn_jax.errors import DataSetError, ImageError


def unit_interval(images: npt.ArrayLike) -> npt.NDArray[np.float32]:
    """Convert images to float32 in [0, 1].

    uint8 images become `float32(x) / float32(255)`, bit for bit what torchvision's `ToTensor` computes. Floating-point
    images must already be in [0, 1] and are rounded to float32; float32 images are returned without a copy.

    Returns:
        float32 images of the same shape.

    Raises:
        DataSetError: There are no images.
        ImageError: The dtype is neither uint8 nor floating-point, or a floating-point value is NaN or outside [0, 1].
    """
    array = np.asarray(images)
    if array.size == 0:
        raise DataSetError(f"no images: the array has shape {array.shape}; expected at least one image")
    if array.dtype == np.uint8:
        return array.astype(np.float32) / np.float32(255)
    if not np.issubdtype(array.dtype, np.floating):
        raise ImageError(
            f"images of type {array.dtype}{_range(array)}; expected uint8 on 0..255 or floats in [0, 1]: "
            "convert them with .astype(numpy.uint8) if their values are whole numbers on 0..255"
        )
    low, high = array.min(), array.max()
    # Written in this form so that NaN, for which every comparison is false, is refused too.
    if not (low >= 0 and high <= 1):
        raise ImageError(
            f"images of type {array.dtype}{_range(array)}; expected floats in [0, 1], none of them NaN: "
            "scale them to [0, 1], or give uint8 on 0..255"
        )
    return array.astype(np.float32, copy=False)


def _range(array: npt.NDArray[np.generic]) -> str:
    if array.dtype.kind not in "biuf":
        return ""
    return f" with values from {array.min()} to {array.max()}"
