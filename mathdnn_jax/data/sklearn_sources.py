"""Data sets that come with scikit-learn: handwritten digits and patches of two photographs."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from mathdnn_jax.data.dataset import Dataset
from mathdnn_jax.data.optional import import_optional

# A pixel of the digits counts the dark ones among 4×4 bits, from 0 to 16.
LEVELS = 16
DIGITS_TRAIN = 1200

PATCH = 8
PHOTOGRAPHS = ("china.jpg", "flower.jpg")
PATCHES_PER_PHOTOGRAPH = 500
# A prime: its multiples modulo the number of patches in a photograph are distinct and spread evenly.
STRIDE = 2621


def load_digits(split: str) -> Dataset:
    """Load scikit-learn's handwritten digits, 1,797 images of 8×8 pixels.

    A pixel v in 0..16 becomes `round(255 v / 16)` (half to even), so only 17 of the values 0..255 occur. The first
    1,200 images are "train", the remaining 597 are "test".

    Returns:
        uint8 images of shape (1200 or 597, 8, 8) and int64 labels in 0..9.

    Raises:
        MissingDependencyError: scikit-learn is not installed.
    """
    digits = import_optional("sklearn.datasets", "loading the digits").load_digits()
    part = slice(None, DIGITS_TRAIN) if split == "train" else slice(DIGITS_TRAIN, None)
    return Dataset(
        images=_pixels_of_levels(digits.images[part]),
        labels=np.asarray(digits.target[part], dtype=np.int64),
    )


def load_photographs(split: str) -> Dataset:
    """Load grey patches of scikit-learn's two sample photographs, natural images that serve as outliers to the digits.

    A photograph is divided into a grid of patches of 8×8 pixels. Its luma is `Y = 0.299 R + 0.587 G + 0.114 B` (ITU-R
    BT.601), and a pixel is `round(255 v / 16)` with `v = round(16 Y / 255)`. These are the same 17 values that occur in
    the digits, so the values alone do not distinguish the two data sets. Patches of a single value, mostly sky, are
    omitted. Of the remaining P patches in row-major order, the k-th one used is number `2621 k mod P`; "test" has
    k = 0..499 of each photograph and "train" has k = 500..999. The photographs alternate.

    Returns:
        uint8 images of shape (1000, 8, 8) and int64 labels: 0 for "china.jpg", 1 for "flower.jpg".

    Raises:
        MissingDependencyError: scikit-learn or pillow is not installed.
    """
    purpose = "loading the photographs"
    # scikit-learn reads them with pillow but does not depend on it.
    import_optional("PIL", purpose)
    datasets = import_optional("sklearn.datasets", purpose)
    first = PATCHES_PER_PHOTOGRAPH if split == "train" else 0
    taken = np.arange(first, first + PATCHES_PER_PHOTOGRAPH)
    by_photograph = []
    for name in PHOTOGRAPHS:
        patches = _varied_patches(_pixels_of_levels(_levels(datasets.load_sample_image(name))))
        by_photograph.append(patches[taken * STRIDE % len(patches)])
    images = np.stack(by_photograph, axis=1).reshape(-1, PATCH, PATCH)
    labels = np.tile(np.arange(len(PHOTOGRAPHS), dtype=np.int64), PATCHES_PER_PHOTOGRAPH)
    return Dataset(images=images, labels=labels)


def _pixels_of_levels(levels: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    return np.rint(levels * 255.0 / LEVELS).astype(np.uint8)


def _levels(colours: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    # In integer thousandths, so that the result is the same on every machine.
    thousandths = colours.astype(np.int64) @ np.array([299, 587, 114], dtype=np.int64)
    return np.rint(thousandths * LEVELS / 255_000).astype(np.int64)


def _varied_patches(picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    rows, columns = (size // PATCH for size in picture.shape)
    whole = picture[: rows * PATCH, : columns * PATCH]
    patches = whole.reshape(rows, PATCH, columns, PATCH).swapaxes(1, 2).reshape(-1, PATCH, PATCH)
    varied: npt.NDArray[np.uint8] = patches[np.ptp(patches, axis=(1, 2)) > 0]
    return varied
