"""MNIST and KMNIST from existing files, intact or damaged."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mathdnn_jax.data import load
from mathdnn_jax.errors import DataUnavailableError

from .data_files import contents, idx_bytes, images_of, labels_of, write_split

pytest.importorskip("torch", reason="MNIST and KMNIST are read by torchvision, which needs torch")


@pytest.fixture(autouse=True)
def no_download(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("files that are there were downloaded")

    monkeypatch.setattr("mathdnn_jax.data.torchvision_sources.download", refuse)


@pytest.mark.parametrize("name", ["MNIST", "KMNIST"])
def test_files_that_are_there_are_only_read(tmp_path: Path, name: str) -> None:
    write_split(tmp_path, count=12, name=name)
    before = contents(tmp_path)
    dataset = load(name.lower(), "test", tmp_path)
    np.testing.assert_array_equal(dataset.images, images_of(12))
    np.testing.assert_array_equal(dataset.labels, labels_of(12))
    assert contents(tmp_path) == before


def test_the_environment_says_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_split(tmp_path)
    monkeypatch.setenv("MATHDNN_DATA", str(tmp_path))
    assert len(load("mnist").images) == 3


def test_real_files_are_only_read(shared: Path) -> None:
    before = contents(shared / "data")
    load("mnist", "test", shared / "data")
    load("kmnist", "test", shared / "data")
    assert contents(shared / "data") == before


def test_files_that_old_torchvision_converted_are_passed_by(tmp_path: Path) -> None:
    write_split(tmp_path)
    processed = tmp_path / "MNIST" / "processed"
    processed.mkdir()
    for name in ("training.pt", "test.pt"):
        (processed / name).write_bytes(b"anything")
    assert len(load("mnist", "test", tmp_path).images) == 3


def _cut(content: bytes) -> bytes:
    return content[:-1]


IMAGES_DAMAGE: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "empty": (lambda _: b"", "it has 0 bytes, but its header alone should have 16"),
    "cut in its header": (lambda content: content[:10], "it has 10 bytes, but its header alone"),
    "cut off": (_cut, "it has 2367 bytes, but should have 2368 according to its header"),
    "too long": (lambda content: content + b"x", "it has 2369 bytes, but should have 2368"),
    "of another type": (lambda content: b"\0\0\x0d\3" + content[4:], "it starts with 0x00000d03, but should"),
    "a web page": (lambda _: b"<html>sign in to this network first</html>", "it starts with 0x3c68746d"),
    "of labels": (lambda _: idx_bytes(labels_of(30)), "it starts with 0x00000801"),
    "of another size": (lambda _: idx_bytes(images_of(3, size=32)), "the shape (32, 32), not (28, 28)"),
    "without images": (lambda _: idx_bytes(images_of(0)), "it has no images"),
    "of more images": (lambda _: idx_bytes(images_of(4)), "it has 4 images, but"),
    "huge by its header": (
        lambda content: struct.pack(">4I", 0x803, *[2**32 - 1] * 3) + content[16:],
        "it has 2368 bytes, but should have",
    ),
}


@pytest.mark.parametrize("damage", IMAGES_DAMAGE)
def test_damaged_images_are_named(tmp_path: Path, damage: str) -> None:
    images, _ = write_split(tmp_path)
    change, reason = IMAGES_DAMAGE[damage]
    images.write_bytes(change(images.read_bytes()))
    with pytest.raises(DataUnavailableError, match=re.escape(f"{images} is damaged: ")) as caught:
        load("mnist", "test", tmp_path)
    assert reason in str(caught.value)
    assert "delete it" in str(caught.value)
    assert images.exists()


LABELS_DAMAGE: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "cut off": (_cut, "it has 10 bytes, but should have 11 according to its header"),
    "of images": (lambda _: idx_bytes(images_of(3)), "it starts with 0x00000803"),
    "no digit": (lambda content: content[:-1] + b"\x0a", "it has a label 10, but labels range from 0 to 9"),
}


@pytest.mark.parametrize("damage", LABELS_DAMAGE)
def test_damaged_labels_are_named(tmp_path: Path, damage: str) -> None:
    _, labels = write_split(tmp_path)
    change, reason = LABELS_DAMAGE[damage]
    labels.write_bytes(change(labels.read_bytes()))
    with pytest.raises(DataUnavailableError, match=re.escape(f"{labels} is damaged: {reason}")) as caught:
        load("mnist", "test", tmp_path)
    assert "delete it" in str(caught.value)


def test_fewer_labels_than_images(tmp_path: Path) -> None:
    images, labels = write_split(tmp_path)
    labels.write_bytes(idx_bytes(labels_of(2)))
    with pytest.raises(DataUnavailableError, match=re.escape(f"{images} is damaged: it has 3 images")) as caught:
        load("mnist", "test", tmp_path)
    assert f"{labels} has 2 labels" in str(caught.value)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images, _ = write_split(tmp_path)

    def refuse(self: Path, mode: str) -> None:
        assert (self, mode) == (images, "rb")
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(DataUnavailableError, match=re.escape(f"cannot read {images}: ")):
        load("mnist", "test", tmp_path)
