"""A state dict that stays in its file: each array is mapped when requested and released after its last use."""

from __future__ import annotations

import io
import mmap
import os
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

import numpy as np

from parity.containers.tensor_map import StoredArray
from parity.errors import CorruptCheckpointError

MIN_MAPPED_BYTES = 2**20
"""Smaller arrays are read, because a mapping would cost more than it saves."""


class MappedState(Mapping[str, np.ndarray]):
    """A mapping from names to arrays in which only arrays in use take memory.

    Every look-up maps the array's part of the file again, privately: writing to an array changes neither the file nor
    the state. Arrays that are small, or stored differently than in memory (strided, unaligned), are copied.

    The file must not change. This is checked before each look-up: a file that was replaced by another is still read,
    because it is kept open, but a file that was overwritten is an error.
    """

    def __init__(self, path: Path, file: BinaryIO | io.FileIO, arrays: Mapping[str, StoredArray]) -> None:
        self._path = path
        self._arrays = arrays
        self._seen = _signature(file)
        # Unbuffered, because duplicates of a file descriptor share its position, which a buffer would not notice.
        self._file: io.FileIO = io.FileIO(os.dup(file.fileno()), "rb")

    def __del__(self) -> None:
        if hasattr(self, "_file"):
            self._file.close()

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)

    def __contains__(self, name: object) -> bool:
        return name in self._arrays

    def __getitem__(self, name: str) -> np.ndarray:
        """Map one array, or copy it if it is stored differently than in memory.

        Raises:
            CorruptCheckpointError: The file was overwritten since it was opened.
        """
        stored = self._arrays[name]
        if not stored.size:
            return np.empty(stored.shape, stored.dtype.newbyteorder("="))
        if stored.extent < MIN_MAPPED_BYTES:
            return self.read(name)
        self._check()
        start = stored.offset - stored.offset % mmap.ALLOCATIONGRANULARITY
        first = stored.offset - start
        try:
            window = mmap.mmap(self._file.fileno(), first + stored.extent, access=mmap.ACCESS_COPY, offset=start)
        except OSError:
            # Each mapping takes one of a process's file descriptors, about a thousand by default.
            return self.read(name)
        return _plain(np.ndarray(stored.shape, stored.dtype, window, first, stored.strides))

    def read(self, name: str) -> np.ndarray:
        """Read the array into its own memory.

        Raises:
            CorruptCheckpointError: The file was overwritten since it was opened.
        """
        stored = self._arrays[name]
        if stored.extent >= MIN_MAPPED_BYTES and stored.extent != stored.size * stored.dtype.itemsize:
            return np.array(self[name])
        self._check()
        buffer = np.empty(stored.extent, np.uint8)
        self._file.seek(stored.offset)
        left = memoryview(buffer.data)
        while left:
            count = self._file.readinto(left)
            if not count:
                raise CorruptCheckpointError(f"{self._path} was truncated while it was in use; read it again")
            left = left[count:]
        return _plain(np.ndarray(stored.shape, stored.dtype, buffer, 0, stored.strides))

    def outline(self) -> dict[str, np.ndarray]:
        """Arrays of zeros with the same names, shapes and dtypes, which take no memory; nothing is read."""
        return {
            name: np.broadcast_to(np.zeros((), p.dtype.newbyteorder("=")), p.shape) for name, p in self._arrays.items()
        }

    def without(self, names: Collection[str]) -> MappedState:
        """The same state without some of its names."""
        return MappedState(self._path, self._file, {n: p for n, p in self._arrays.items() if n not in names})

    def without_prefix(self, prefix: str) -> MappedState:
        """The same state with `prefix` removed from its names."""
        return MappedState(self._path, self._file, {n.removeprefix(prefix): p for n, p in self._arrays.items()})

    def _check(self) -> None:
        if _signature(self._file) != self._seen:
            raise CorruptCheckpointError(f"{self._path} was overwritten while it was in use; read it again")


def _plain(array: np.ndarray) -> np.ndarray:
    """The array itself if it is contiguous, aligned and in native byte order, else a copy that is."""
    if array.flags.c_contiguous and array.flags.aligned and array.dtype.isnative:
        return array
    return np.array(array, array.dtype.newbyteorder("="), order="C")


def _signature(file: BinaryIO | io.FileIO) -> tuple[int, int]:
    status = os.fstat(file.fileno())
    return status.st_size, status.st_mtime_ns
