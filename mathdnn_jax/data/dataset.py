"""The common type of all data sets."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt


class Dataset(NamedTuple):
    """Labelled images.

    Attributes:
        images: uint8 of shape (N, H, W), or (N, H, W, 3) in red, green and blue. 0 is black and 255 is white, so
            `images / 255` is in [0, 1].
        labels: int64 of shape (N,).
    """

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]
