"""MNIST and KMNIST through torchvision's download, integrity check and reader."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from mathdnn_jax.data.dataset import Dataset
from mathdnn_jax.data.download import download, only_files
from mathdnn_jax.data.idx import damaged, idx_shape
from mathdnn_jax.data.root import data_root
from mathdnn_jax.data.torchvision_import import import_torchvision_datasets
from mathdnn_jax.errors import DataUnavailableError

IMAGE_SHAPE = (28, 28)
CLASSES = 10


def load_torchvision(class_name: str, split: str, data_dir: str | os.PathLike[str] | None) -> Dataset:
    """Load a split of the class `class_name` of `torchvision.datasets`, "MNIST" or "KMNIST".

    The files are `<root>/<class_name>/raw/{train,t10k}-{images-idx3,labels-idx1}-ubyte`, where `data_root` returns the
    root. If the two files of the split exist, nothing is written and no network is used.

    Returns:
        uint8 images of shape (N, 28, 28) and int64 labels of shape (N,) in 0..9.

    Raises:
        DataUnavailableError: A file is damaged, or is missing and could not be downloaded.
        MissingDependencyError: torch or torchvision is not installed.
    """
    root = data_root(data_dir)
    source = getattr(import_torchvision_datasets(), class_name)
    prefix = "train" if split == "train" else "t10k"
    raw = root / class_name / "raw"
    images_file, labels_file = raw / f"{prefix}-images-idx3-ubyte", raw / f"{prefix}-labels-idx1-ubyte"
    absent = [file for file in (images_file, labels_file) if not _is_file(file)]
    if absent:
        download(source, root, absent)
    _check(images_file, labels_file)
    dataset = _read(source, root, [images_file, labels_file], train=split == "train")
    if dataset.labels.max() >= CLASSES:
        raise damaged(labels_file, f"it has a label {dataset.labels.max()}, but labels range from 0 to {CLASSES - 1}")
    return dataset


def _is_file(file: Path) -> bool:
    try:
        return file.is_file()
    except OSError as error:
        raise DataUnavailableError(f"cannot access {file}: {error}; check the folder's permissions") from error


def _check(images_file: Path, labels_file: Path) -> None:
    """Check what torchvision's reader assumes, so that the error message can name the file."""
    count, *image_shape = idx_shape(images_file, rank=3)
    (labels_count,) = idx_shape(labels_file, rank=1)
    if tuple(image_shape) != IMAGE_SHAPE:
        raise damaged(images_file, f"its images have the shape {tuple(image_shape)}, not {IMAGE_SHAPE}")
    if count == 0:
        raise damaged(images_file, "it has no images")
    if count != labels_count:
        raise damaged(
            images_file,
            f"it has {count} images, but {labels_file} has {labels_count} labels (or the latter is damaged)",
        )


def _read(source: Any, root: Path, files: list[Path], *, train: bool) -> Dataset:
    data = only_files(source, files)(str(root), train=train)
    return Dataset(images=data.data.numpy(), labels=data.targets.numpy())
