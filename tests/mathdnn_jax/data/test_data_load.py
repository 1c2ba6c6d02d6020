"""Properties of every data set."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from mathdnn_jax.data import Dataset, load
from mathdnn_jax.errors import ConfigurationError


@pytest.mark.parametrize("name", ["MNIST", "cifar100", ""])
def test_an_unknown_name_lists_the_names(name: str) -> None:
    message = f"unknown data set {name!r}; choose one of: mnist, kmnist, cifar10, digits, photographs"
    with pytest.raises(ConfigurationError, match=re.escape(message)):
        load(name)


@pytest.mark.parametrize("name", ["mnist", "kmnist", "cifar10", "digits", "photographs"])
def test_an_unknown_split_lists_the_splits(name: str) -> None:
    with pytest.raises(ConfigurationError, match="unknown split 'valid'; choose one of: train, test"):
        load(name, "valid")


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("name", ["digits", "photographs"])
def test_bundled_sets_keep_the_contract(name: str, split: str) -> None:
    _keeps_the_contract(load(name, split))


@pytest.mark.parametrize(
    ("name", "split", "count", "first_labels"),
    [
        ("mnist", "test", 10_000, [7, 2, 1, 0, 4]),
        ("mnist", "train", 60_000, [5, 0, 4, 1, 9]),
        ("kmnist", "test", 10_000, [2, 9, 3, 8, 3]),
    ],
)
def test_real_files_keep_the_contract(shared: Path, name: str, split: str, count: int, first_labels: list[int]) -> None:
    pytest.importorskip("torch", reason="MNIST and KMNIST are read by torchvision, which needs torch")
    dataset = load(name, split, shared / "data")
    _keeps_the_contract(dataset)
    assert dataset.images.shape == (count, 28, 28)
    assert dataset.labels[:5].tolist() == first_labels


def _keeps_the_contract(dataset: Dataset) -> None:
    images, labels = dataset
    assert images.dtype == np.uint8
    assert images.ndim == 3
    assert images.min() == 0
    assert images.max() == 255
    assert labels.dtype == np.int64
    assert labels.shape == images.shape[:1]
