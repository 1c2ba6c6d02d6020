"""Whole files of daily use: newer pickles, objects of any class beside the state, and files of other kinds."""

from __future__ import annotations

import argparse
import gzip
import io
import pickle
import tarfile
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import parity
from parity import errors
from parity.containers.checkpoint import read, to_numpy

torch = pytest.importorskip("torch", reason="PyTorch checkpoints are written by PyTorch")

ran: list[object] = []


class Config:
    """A stranger's class with all that pickles do: made by a call, with state, entries, and items."""

    def __init__(self, *values: object) -> None:
        ran.append(values)
        self.values = values

    def append(self, item: object) -> None:
        ran.append(item)

    def __setitem__(self, key: object, value: object) -> None:
        ran.append(key)

    def __setstate__(self, state: object) -> None:
        ran.append(state)

    def __reduce__(self) -> Any:
        return Config, (1, torch.ones(2)), {"state": 1}, iter([1, 2]), iter([("a", 1)])


class Restarted(OrderedDict):  # type: ignore[type-arg]
    """A stranger's mapping."""


def state() -> dict[str, Any]:
    whole = torch.arange(24.0).reshape(4, 6)
    return {
        "weight": torch.nn.Parameter(whole),
        "transposed": whole.T,
        "brain": whole.bfloat16(),
        "count": torch.tensor(7),
        "größe": torch.ones(2, dtype=torch.bool),
        "lone \ud800": torch.zeros(1),
    }


def same(loaded: dict[str, np.ndarray]) -> bool:
    truth = state()
    return list(loaded) == list(truth) and all(
        loaded[name].tobytes() == to_numpy(truth[name]).tobytes() for name in truth
    )


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("protocol", [1, 2, 3, 4, 5])
def test_every_protocol_that_pytorch_writes(tmp_path: Path, protocol: int, legacy: bool) -> None:
    path = tmp_path / "x.pt"
    beside = {
        "epoch": 3, "rate": 0.5, "long": 2**70, "bytes": b"abc" * 200, "array": bytearray(b"abc" * 100), "none": None,
        "set": {1, 2}, "frozen": frozenset([3]), "text": "x" * 70_000, "tuple": (1, (2, 3, 4, 5)), "complex": 1j,
        "keys": {(1, 2): 3, 1.5: 4, None: 5, True: 6}, "dtype": torch.float32, "device": torch.device("cpu"),
    }  # fmt: skip
    torch.save({"model": state(), **beside}, path, pickle_protocol=protocol, _use_new_zipfile_serialization=not legacy)
    assert same(parity.load(path, inside="model"))
    left = read(path, inside="model").selection.left
    assert set(left) == set(beside)
    assert (left["epoch"], left["keys"]) == ("3", "a dict of 4 entries")


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("protocol", [2, 5])
def test_what_is_beside_a_named_state_is_skipped_and_never_run(tmp_path: Path, protocol: int, legacy: bool) -> None:
    config = Config()
    mapping = Restarted(a=1)
    mapping.note = "x"  # type: ignore[attr-defined]
    content = {
        "state_dict": state(),
        "hyper_parameters": argparse.Namespace(rate=0.1, sizes={3, 5}, path=Path("runs"), config=config),
        "callbacks": {"best": np.float64(0.5), "count": np.int64(3), "array": np.ones(3), Path("x"): config},
        "config": config,
        "list": [config, mapping],
    }
    path = tmp_path / "run.ckpt"
    torch.save(content, path, pickle_protocol=protocol, _use_new_zipfile_serialization=not legacy)
    ran.clear()
    assert same(parity.load(path, inside="state_dict"))
    left = read(path, inside="state_dict").selection.left
    assert left == {
        "hyper_parameters": "'argparse.Namespace', skipped",
        "callbacks": "a dict of 4 entries",
        "config": f"'{__name__}.Config', skipped",
        "list": "a list of 2 entries",
    }
    # Unasked, the file is refused as before; the message says what else can be done.
    with pytest.raises(errors.UnsafeCheckpointError, match=r"argparse\.Namespace.*inside=: 'state_dict' \(6 tensors\)"):
        parity.load(path)
    assert ran == []
    # The payload is a live one.
    torch.load(path, weights_only=False)
    assert len(ran) > 1


def test_what_is_foreign_in_the_state_itself_is_refused(tmp_path: Path) -> None:
    torch.save({"model": {"w": torch.ones(2), "x": np.ones(3)}, "other": {"w": torch.ones(2)}}, tmp_path / "x.pt")
    with pytest.raises(errors.UnsafeCheckpointError, match=r"numpy.*_reconstruct"):
        parity.load(tmp_path / "x.pt", inside="model")
    assert list(parity.load(tmp_path / "x.pt", inside="other")) == ["w"]
    torch.save({"model": Config()}, tmp_path / "x.pt")
    with pytest.raises(errors.NotAStateDictError, match="no dictionary 'model' inside"):
        parity.load(tmp_path / "x.pt", inside="model")
    torch.save(Config(), tmp_path / "x.pt")
    with pytest.raises(errors.UnsafeCheckpointError, match="Config"):
        parity.load(tmp_path / "x.pt", inside="model")


def test_an_extra_state_that_is_none_is_left_out(tmp_path: Path) -> None:
    extra = {"layer._extra_state": None, "_extra_state": None}
    torch.save(state() | extra, tmp_path / "x.pt")
    assert same(parity.load(tmp_path / "x.pt"))
    assert read(tmp_path / "x.pt").selection.left == {"layer._extra_state": "None", "_extra_state": "None"}
    torch.save({"model": state() | extra, "epoch": 1}, tmp_path / "x.pt")
    with pytest.warns(errors.WrappedCheckpointWarning, match="'model/layer._extra_state' "):
        assert same(parity.load(tmp_path / "x.pt"))
    torch.save(state() | {"layer.state": None}, tmp_path / "x.pt")
    with pytest.raises(errors.NotAStateDictError, match=r"'layer\.state' is a NoneType"):
        parity.load(tmp_path / "x.pt")


def _bytes(content: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(content)


def _npy(path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, np.ones(3))


def _npz(save: Callable[..., None]) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        with path.open("wb") as file:
            save(file, a=np.zeros(30_000), b=np.ones(2))

    return write


def _gzip(path: Path) -> None:
    path.write_bytes(gzip.compress(b"x" * 100))


def _tar(path: Path) -> None:
    with tarfile.open(path, "w") as archive:
        archive.addfile(tarfile.TarInfo("storages"), io.BytesIO())


def _script(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("m/data.pkl", pickle.dumps({}, 2))
        archive.writestr("m/code/m.py", "def forward(self): pass" * 100, zipfile.ZIP_DEFLATED)
        archive.writestr("m/constants.pkl", pickle.dumps((), 2))


def _packed(method: int, comment: bytes = b"") -> Callable[[Path], None]:
    def write(path: Path) -> None:
        buffer = io.BytesIO()
        torch.save(state(), buffer)
        with zipfile.ZipFile(buffer) as whole, zipfile.ZipFile(path, "w", method) as archive:
            for name in whole.namelist():
                archive.writestr(name, whole.read(name))
            archive.comment = comment

    return write


OTHERS: list[tuple[Callable[[Path], object], type[Exception], str]] = [
    (_npy, errors.UnsupportedCheckpointError, r"is a NumPy array \(\.npy\)"),
    (_npz(np.savez), errors.UnsupportedCheckpointError, r"an archive of 2 NumPy arrays \(\.npz\)"),
    (_npz(np.savez_compressed), errors.UnsupportedCheckpointError, r"an archive of 2 NumPy arrays \(\.npz\)"),
    (_gzip, errors.UnsupportedCheckpointError, "compressed with gzip"),
    (_tar, errors.UnsupportedCheckpointError, "tar archive"),
    (_script, errors.UnsafeCheckpointError, "TorchScript archive.* none of it was run"),
    (_packed(zipfile.ZIP_DEFLATED), errors.UnsupportedCheckpointError, "compressed records such as 'archive/"),
    (_packed(zipfile.ZIP_STORED, b"hello"), errors.UnsupportedCheckpointError, "a comment at its end"),
    (_bytes(b'{"a": 1}'), errors.UnsupportedCheckpointError, "JSON text"),
    (
        _bytes(pickle.dumps({"a": [1.5]}, 5)),
        errors.UnsupportedCheckpointError,
        "pickle of a dict",
    ),
    (_bytes(b"\x89HDF\r\n\x1a\n" + bytes(99)), errors.UnsupportedCheckpointError, "HDF5"),
    (_bytes(b""), errors.CorruptCheckpointError, "is empty"),
    (_bytes(b"<!DOCTYPE html>"), errors.CorruptCheckpointError, "a web page"),
    (
        _bytes(b"version https://git-lfs.github.com/spec/v1\n"),
        errors.CorruptCheckpointError,
        "LFS",
    ),
]


@pytest.mark.parametrize(("write", "error", "words"), OTHERS)
@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_files_of_other_kinds_are_named_for_what_they_are(
    tmp_path: Path, write: Callable[[Path], object], error: type[Exception], words: str, suffix: str
) -> None:
    path = tmp_path / f"weights{suffix}"
    write(path)
    with pytest.raises(error, match=words) as caught:
        parity.load(path)
    assert type(caught.value) is error
    assert "damaged" not in str(caught.value)


@pytest.mark.parametrize("length", [ord("{"), 0x8B1F])
def test_a_safetensors_file_is_not_taken_for_another_kind(tmp_path: Path, length: int) -> None:
    save = pytest.importorskip("safetensors.numpy").save
    # The file begins with the length of its header: here like JSON, or with the two bytes of gzip.
    content = save({"w": np.ones(2, np.float32)})
    end = 8 + int.from_bytes(content[:8], "little")
    path = tmp_path / "weights"
    path.write_bytes(length.to_bytes(8, "little") + content[8:end].ljust(length) + content[end:])
    np.testing.assert_array_equal(parity.load(path)["w"], [1, 1])
