"""Data sets by name."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType

from mathdnn_jax.data.cifar10 import load_cifar10
from mathdnn_jax.data.dataset import Dataset
from mathdnn_jax.data.sklearn_sources import load_digits, load_photographs
from mathdnn_jax.data.torchvision_sources import load_torchvision
from mathdnn_jax.errors import ConfigurationError

DataDir = str | os.PathLike[str] | None

SOURCES: Mapping[str, Callable[[str, DataDir], Dataset]] = MappingProxyType(
    {
        "mnist": partial(load_torchvision, "MNIST"),
        "kmnist": partial(load_torchvision, "KMNIST"),
        "cifar10": load_cifar10,
        "digits": lambda split, _: load_digits(split),
        "photographs": lambda split, _: load_photographs(split),
    }
)
SPLITS = ("train", "test")


def load(name: str, split: str = "test", data_dir: DataDir = None) -> Dataset:
    """Load a data set.

    | name        | images    | train               | test                 | needs a network           |
    |-------------|-----------|---------------------|----------------------|---------------------------|
    | mnist       | 28×28     | 60,000              | 10,000               | if its files are absent   |
    | kmnist      | 28×28     | 60,000              | 10,000               | if its files are absent   |
    | cifar10     | 32×32×3   | 50,000              | 10,000               | if its files are absent   |
    | digits      | 8×8       | the first 1,200     | the remaining 597    | no, part of scikit-learn  |
    | photographs | 8×8       | 1,000 patches       | 1,000 other patches  | no, part of scikit-learn  |

    Args:
        name: One of the names above.
        split: "train" or "test".
        data_dir: The folder that contains `MNIST/raw/...`, `KMNIST/raw/...` and `cifar-10-batches-py`; see `data_root`
            for its default. Existing files are only read, and missing ones are downloaded into it. Without the folder
            `cifar-10-batches-py`, an archive `CIFAR10/<split>*.npz` of your own is read, with the arrays `images` and
            `labels`. The data sets of scikit-learn ignore this argument.

    Returns:
        uint8 images of shape (N, H, W), or (N, H, W, 3), on 0..255 and int64 labels of shape (N,).

    Raises:
        ConfigurationError: There is no such data set or split.
        DataUnavailableError: A file is damaged, or is missing and could not be downloaded.
        MissingDependencyError: The packages of the extra `data` are not installed.

    Example:
        >>> import mathdnn_jax as mj
        >>> digits = mj.data.load("digits")
        >>> digits.images.shape, digits.images.dtype
        ((597, 8, 8), dtype('uint8'))
    """
    if name not in SOURCES:
        raise ConfigurationError(f"unknown data set {name!r}; choose one of: {', '.join(SOURCES)}")
    if split not in SPLITS:
        raise ConfigurationError(f"unknown split {split!r}; choose one of: {', '.join(SPLITS)}")
    return SOURCES[name](split, data_dir)
