"""CIFAR-10, from torchvision's folder or from an archive of arrays."""

from __future__ import annotations

import os
import zipfile
import zlib
from pathlib import Path

import numpy as np

from mathdnn_jax.data.dataset import Dataset
from mathdnn_jax.data.download import fetch_atomically
from mathdnn_jax.data.root import data_root
from mathdnn_jax.data.torchvision_import import import_torchvision_datasets
from mathdnn_jax.errors import DataUnavailableError

FOLDER = "cifar-10-batches-py"
IMAGE_SHAPE = (32, 32, 3)
CLASSES = 10


def load_cifar10(split: str, data_dir: str | os.PathLike[str] | None) -> Dataset:
    """Load a split from `<root>/cifar-10-batches-py`, else from `<root>/CIFAR10/<split>*.npz`, else download it.

    The folder is the one that torchvision makes, and its checksums are verified. The archive can be any file with the
    arrays `images`, uint8 (N, 32, 32, 3), and `labels`, integers (N,) in 0..9. Its origin cannot be verified, so
    results reported "on CIFAR-10" should be computed from the folder.

    Returns:
        uint8 images of shape (N, 32, 32, 3) and int64 labels of shape (N,).

    Raises:
        DataUnavailableError: A file is damaged, there are several archives, or the download failed.
        MissingDependencyError: torch or torchvision is needed and not installed.
    """
    root = data_root(data_dir)
    folder = root / FOLDER
    if not folder.is_dir():
        archives = sorted((root / "CIFAR10").glob(f"{split}*.npz"))
        if len(archives) > 1:
            names = ", ".join(path.name for path in archives)
            raise DataUnavailableError(f"{root / 'CIFAR10'} has several archives of {split} images: {names}; keep one")
        if archives:
            return _read_archive(archives[0])
    return _read_torchvision(root, folder, train=split == "train")


def _read_torchvision(root: Path, folder: Path, *, train: bool) -> Dataset:
    source = import_torchvision_datasets().CIFAR10
    if not folder.is_dir():
        example = f"{FOLDER}/test_batch and the like, or CIFAR10/test.npz"
        fetch_atomically(lambda temporary: source(temporary, download=True), root, [folder], example)
    try:
        data = source(str(root), train=train)
    except (RuntimeError, OSError) as error:
        raise DataUnavailableError(
            f"{folder} is damaged or incomplete: {error}; delete it, and it will be downloaded again when needed"
        ) from error
    return Dataset(images=data.data, labels=np.asarray(data.targets, np.int64))


def _read_archive(path: Path) -> Dataset:
    try:
        # Opened here so that it is always closed: numpy leaves a file that it opened open if it is not an archive.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            images, labels = archive["images"], archive["labels"]
    except (OSError, ValueError, TypeError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise DataUnavailableError(
            f"{path} cannot be read as an archive with the arrays images and labels: {error}; obtain it again"
        ) from error
    sound = images.dtype == np.uint8 and images.ndim == 4 and images.shape[1:] == IMAGE_SHAPE and len(images)
    if not sound or labels.dtype.kind not in "iu" or labels.shape != images.shape[:1]:
        raise DataUnavailableError(
            f"{path} has images {images.dtype} {images.shape} and labels {labels.dtype} {labels.shape}; expected "
            f"uint8 (N, 32, 32, 3) and integers (N,)"
        )
    if labels.min() < 0 or labels.max() >= CLASSES:
        raise DataUnavailableError(
            f"{path} has labels from {labels.min()} to {labels.max()}; expected 0 to {CLASSES - 1}"
        )
    return Dataset(images=images, labels=labels.astype(np.int64))
