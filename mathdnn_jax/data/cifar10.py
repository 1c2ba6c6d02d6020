"""CIFAR-10, as torchvision keeps it or from an archive of arrays."""

from __future__ import annotations

import os
import zipfile
import zlib
from pathlib import Path

import numpy as np

from mathdnn_jax.data.dataset import Dataset
from mathdnn_jax.data.download import fetch_whole
from mathdnn_jax.data.root import data_root
from mathdnn_jax.data.torchvision_import import import_torchvision_datasets
from mathdnn_jax.errors import DataUnavailableError

FOLDER = "cifar-10-batches-py"
IMAGE_SHAPE = (32, 32, 3)
CLASSES = 10


def load_cifar10(split: str, data_dir: str | os.PathLike[str] | None) -> Dataset:
    """Load a split from `<root>/cifar-10-batches-py`, else from `<root>/CIFAR10/<split>*.npz`, else download it.

    The folder is torchvision's own, and its checksums are verified. The archive is anybody's: it has `images`, uint8
    (N, 32, 32, 3), and `labels`, whole numbers (N,) in 0..9. How its images were made only its maker knows, so that
    figures "on CIFAR-10" should come from the folder.

    Returns:
        uint8 images of shape (N, 32, 32, 3) and int64 labels of shape (N,).

    Raises:
        DataUnavailableError: a file is damaged, there are several archives, or the download failed.
        MissingDependencyError: torch or torchvision is needed and not installed.
    """
    root = data_root(data_dir)
    folder = root / FOLDER
    if not folder.is_dir():
        archives = sorted((root / "CIFAR10").glob(f"{split}*.npz"))
        if len(archives) > 1:
            names = ", ".join(path.name for path in archives)
            raise DataUnavailableError(
                f"{root / 'CIFAR10'} holds several archives of {split} images: {names}; keep one"
            )
        if archives:
            return _read_archive(archives[0])
    return _read_torchvision(root, folder, train=split == "train")


def _read_torchvision(root: Path, folder: Path, *, train: bool) -> Dataset:
    source = import_torchvision_datasets().CIFAR10
    if not folder.is_dir():
        example = f"{FOLDER}/test_batch and the like, or CIFAR10/test.npz"
        fetch_whole(lambda temporary: source(temporary, download=True), root, [folder], example)
    try:
        data = source(str(root), train=train)
    except (RuntimeError, OSError) as error:
        raise DataUnavailableError(
            f"{folder} is damaged or not complete: {error}; delete it, and it is downloaded anew when next needed"
        ) from error
    return Dataset(images=data.data, labels=np.asarray(data.targets, np.int64))


def _read_archive(path: Path) -> Dataset:
    try:
        # A file that this function opened is closed by it; numpy leaves its own open where it is no archive.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            images, labels = archive["images"], archive["labels"]
    except (OSError, ValueError, TypeError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise DataUnavailableError(
            f"{path} cannot be read as an archive of the arrays images and labels: {error}; obtain it again"
        ) from error
    sound = images.dtype == np.uint8 and images.ndim == 4 and images.shape[1:] == IMAGE_SHAPE and len(images)
    if not sound or labels.dtype.kind not in "iu" or labels.shape != images.shape[:1]:
        raise DataUnavailableError(
            f"{path} holds images {images.dtype} {images.shape} and labels {labels.dtype} {labels.shape}; expected "
            f"uint8 (N, 32, 32, 3) and whole numbers (N,)"
        )
    if labels.min() < 0 or labels.max() >= CLASSES:
        raise DataUnavailableError(
            f"{path} has labels from {labels.min()} to {labels.max()}; expected 0 to {CLASSES - 1}"
        )
    return Dataset(images=images, labels=labels.astype(np.int64))
