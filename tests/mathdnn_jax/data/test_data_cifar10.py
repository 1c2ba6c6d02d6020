"""CIFAR-10 from an archive, from torchvision's folder, and by download."""

from __future__ import annotations

import hashlib
import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mathdnn_jax.data import load, unit_interval
from mathdnn_jax.data.torchvision_import import import_torchvision_datasets
from mathdnn_jax.errors import DataUnavailableError

from .data_files import contents

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (6, 32, 32, 3), dtype=np.uint8)
LABELS = np.array([3, 0, 9, 1, 1, 5], np.uint8)


def write_archive(root: Path, name: str = "test_jpeg.npz", **arrays: Any) -> Path:
    path = root / "CIFAR10" / name
    path.parent.mkdir(exist_ok=True)
    np.savez(path, **({"images": IMAGES, "labels": LABELS} | arrays))
    return path


@pytest.mark.parametrize("split", ["train", "test"])
def test_an_archive_is_read_and_left_as_it_is(tmp_path: Path, split: str) -> None:
    write_archive(tmp_path, f"{split}_mine.npz")
    before = contents(tmp_path)
    dataset = load("cifar10", split, tmp_path)
    np.testing.assert_array_equal(dataset.images, IMAGES)
    np.testing.assert_array_equal(dataset.labels, LABELS)
    assert dataset.labels.dtype == np.int64
    assert unit_interval(dataset.images).shape == (6, 32, 32, 3)
    assert contents(tmp_path) == before


def test_the_real_archive(shared: Path) -> None:
    dataset = load("cifar10", "test", shared / "data")
    assert dataset.images.shape == (10_000, 32, 32, 3)
    assert np.bincount(dataset.labels).tolist() == [1000] * 10


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"images": IMAGES.astype(np.float32)}, "images float32"),
        ({"images": IMAGES[..., 0]}, r"\(6, 32, 32\)"),
        ({"images": IMAGES[:0], "labels": LABELS[:0]}, r"\(0, 32, 32, 3\)"),
        ({"labels": LABELS[:5]}, r"labels uint8 \(5,\)"),
        ({"labels": LABELS.astype(float)}, "labels float64"),
        ({"labels": LABELS + 1}, "from 1 to 10"),
        ({"labels": np.array([None] * 6)}, "cannot be read"),
    ],
)
def test_an_archive_of_something_else(tmp_path: Path, arrays: dict[str, Any], words: str) -> None:
    write_archive(tmp_path, **arrays)
    with pytest.raises(DataUnavailableError, match=words):
        load("cifar10", "test", tmp_path)


def test_a_damaged_archive(tmp_path: Path) -> None:
    path = write_archive(tmp_path)
    whole, npy = path.read_bytes(), io.BytesIO()
    np.save(npy, IMAGES)
    for content in (b"", b"hello", whole[: len(whole) // 2], whole[:200] + b"xxxx" + whole[204:], npy.getvalue()):
        path.write_bytes(content)
        with pytest.raises(DataUnavailableError, match=r"test_jpeg.npz cannot be read"):
            load("cifar10", "test", tmp_path)


def test_two_archives_are_one_too_many(tmp_path: Path) -> None:
    write_archive(tmp_path)
    write_archive(tmp_path, "test.npz")
    with pytest.raises(DataUnavailableError, match=r"test.npz, test_jpeg.npz; keep one"):
        load("cifar10", "test", tmp_path)


def torchvision_datasets() -> Any:
    pytest.importorskip("torch", reason="torchvision needs torch")
    return import_torchvision_datasets()


def write_torchvision(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A small folder of torchvision's layout, with its checksums made to fit."""
    datasets = torchvision_datasets()
    folder = root / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    names = {"train_list": ["data_batch_1", "data_batch_2"], "test_list": ["test_batch"]}
    for attribute, files in names.items():
        sums = []
        for k, name in enumerate(files):
            rows = IMAGES[2 * k : 2 * k + 2].transpose(0, 3, 1, 2).reshape(2, -1)
            content = pickle.dumps({"data": rows, "labels": LABELS[2 * k : 2 * k + 2].tolist()})
            (folder / name).write_bytes(content)
            sums.append([name, hashlib.md5(content).hexdigest()])
        monkeypatch.setattr(datasets.CIFAR10, attribute, sums)
    meta = pickle.dumps({"label_names": [str(k) for k in range(10)]})
    (folder / "batches.meta").write_bytes(meta)
    described = {"filename": "batches.meta", "key": "label_names", "md5": hashlib.md5(meta).hexdigest()}
    monkeypatch.setattr(datasets.CIFAR10, "meta", described)


def test_torchvisions_folder_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_torchvision(tmp_path, monkeypatch)
    write_archive(tmp_path, images=255 - IMAGES)
    for split, count in (("train", 4), ("test", 2)):
        dataset = load("cifar10", split, tmp_path)
        np.testing.assert_array_equal(dataset.images, IMAGES[:count])
        np.testing.assert_array_equal(dataset.labels, LABELS[:count])
        assert dataset.labels.dtype == np.int64


def test_a_damaged_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_torchvision(tmp_path, monkeypatch)
    batch = tmp_path / "cifar-10-batches-py" / "test_batch"
    batch.write_bytes(batch.read_bytes()[:-1] + b"!")
    with pytest.raises(DataUnavailableError, match=r"damaged or incomplete.*delete it"):
        load("cifar10", "test", tmp_path)


def test_a_download_leaves_a_whole_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = torchvision_datasets()
    root = tmp_path / "data"

    def download(self: Any) -> None:
        write_torchvision(Path(self.root), monkeypatch)

    monkeypatch.setattr(datasets.CIFAR10, "download", download)
    np.testing.assert_array_equal(load("cifar10", "test", root).images, IMAGES[:2])
    assert [path.name for path in root.iterdir()] == ["cifar-10-batches-py"]


def test_a_failed_download_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = torchvision_datasets()

    def download(self: Any) -> None:
        (Path(self.root) / "cifar-10-batches-py").mkdir()
        raise OSError("no network")

    monkeypatch.setattr(datasets.CIFAR10, "download", download)
    with pytest.raises(DataUnavailableError, match=r"(?s)no network.*--data-dir.*cifar-10-batches-py/test_batch"):
        load("cifar10", "test", tmp_path / "data")
    assert list(tmp_path.iterdir()) == []
