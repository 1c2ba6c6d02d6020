"""Positions beyond the file, files far larger than the memory, and what is not a file at all: named errors."""

from __future__ import annotations

import json
import os
import pickle
import socket
import struct
from pathlib import Path

import pytest

import parity
from mathdnn_jax.errors import MathdnnError
from parity import errors
from parity.containers.checkpoint import read

pytest.importorskip("torch", reason="spoilt files are made beside PyTorch's")

from ..fuzz.mutations import LEGACY_HEAD
from ..fuzz.pickles import mapping, tensor

HUGE = 400 * 10**9


def legacy(sizes: list[int], keys: list[str] | None = None) -> bytes:
    """The beginning of a legacy file with storages of these sizes, of which at most six bytes are there."""
    names = [str(k) for k in range(len(sizes))]
    tensors = [tensor(name, (1,), (1,), n, kind="Byte", legacy=True) for name, n in zip(names, sizes, strict=True)]
    pickled = mapping(list(zip(names, tensors, strict=True)))
    body = b"".join(struct.pack("<q", n) + bytes(min(n, 6)) for n in sizes)
    return LEGACY_HEAD + pickled + pickle.dumps(names if keys is None else keys, 2) + body


def sparse(path: Path, head: bytes, size: int) -> Path:
    """A file of this size, of which only the beginning takes room on the disk."""
    with path.open("wb") as file:
        file.write(head)
        try:
            file.truncate(size)
        except OSError:
            pytest.skip("this file system has no sparse files of that size")
    return path


@pytest.mark.parametrize("size", [2**62, 2**63 - 1, 7, 2**31])
@pytest.mark.parametrize("place", [0, 1])
def test_positions_beyond_a_legacy_file(tmp_path: Path, size: int, place: int) -> None:
    sizes = [6, 6]
    sizes[place] = size
    (tmp_path / "x.pt").write_bytes(legacy(sizes))
    with pytest.raises(errors.CorruptCheckpointError, match=r"storage '[01]' is not where it should be, or"):
        parity.load(tmp_path / "x.pt")


@pytest.mark.parametrize("keys", [["0", "0"], ["0", "2"], ["0", True], ["0", None], [["0"], "1"], ["0"]])
def test_lists_of_storages_that_are_not_those_of_the_tensors(tmp_path: Path, keys: list[str]) -> None:
    (tmp_path / "x.pt").write_bytes(legacy([6, 6], keys=keys))
    with pytest.raises(errors.CorruptCheckpointError):
        parity.load(tmp_path / "x.pt")


def test_a_sound_file_of_the_same_making_is_read(tmp_path: Path) -> None:
    (tmp_path / "x.pt").write_bytes(legacy([6, 6]))
    assert parity.load(tmp_path / "x.pt").keys() == {"0", "1"}


@pytest.mark.parametrize("name", ["x.pt", "x.safetensors", "x.safetensors.index.json", "x"])
@pytest.mark.parametrize("head", [b"", b"PK\x03\x04", b"\x80\x02", b"\x80\x02}q\x00(", b"{", b"\x02\0\0\0\0\0\0\0{}"])
def test_files_that_are_mostly_holes(tmp_path: Path, name: str, head: bytes) -> None:
    with pytest.raises(errors.CheckpointError, match=r"x(\.pt|\.safetensors)?"):
        parity.load(sparse(tmp_path / name, head, HUGE))


def test_states_that_do_not_fit_into_memory_stay_in_their_file(tmp_path: Path) -> None:
    header = json.dumps({"x": {"dtype": "U8", "shape": [HUGE], "data_offsets": [0, HUGE]}}).encode()
    start = struct.pack("<Q", len(header)) + header
    path = sparse(tmp_path / "x.safetensors", start, len(start) + HUGE)
    with pytest.raises(errors.UnreadableCheckpointError, match="arrays of 400,000,000,000 bytes, and this machine has"):
        parity.load(path)
    assert read(path).state.outline()["x"].shape == (HUGE,)  # type: ignore[attr-defined]
    start = legacy([HUGE]).removesuffix(bytes(6))
    path = sparse(tmp_path / "x.pt", start, len(start) + HUGE)
    # Of a storage that is too large to load, a tensor of one byte is not.
    assert parity.load(path)["0"].tolist() == [0]


def test_what_is_no_file_is_named(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.pt")
    with pytest.raises(errors.CheckpointNotFoundError, match=r"pipe\.pt is a named pipe, not a file"):
        parity.load(tmp_path / "pipe.pt")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s"))
        with pytest.raises(errors.CheckpointNotFoundError, match="is a socket, not a file"):
            parity.load(tmp_path / "s")
    with pytest.raises(errors.CheckpointNotFoundError, match="is a device, not a file"):
        parity.load("/dev/zero")
    (tmp_path / "loop.pt").symlink_to("loop.pt")
    with pytest.raises(errors.CheckpointNotFoundError, match="does not exist"):
        parity.load(tmp_path / "loop.pt")
    (tmp_path / "x.safetensors.index.json").write_text(json.dumps({"weight_map": {"w": "pipe.pt"}}))
    with pytest.raises(errors.MissingShardError, match=r"'pipe\.pt'"):
        parity.load(tmp_path / "x.safetensors.index.json")


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="Linux makes such files up")
@pytest.mark.parametrize("name", ["/proc/self/mem", "/proc/self/status", "/proc/kmsg"])
def test_files_that_the_system_makes_up(name: str) -> None:
    with pytest.raises(MathdnnError):
        parity.load(name)
