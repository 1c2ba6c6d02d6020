"""A state dict that stays in its file: each array is mapped when it is asked for, and let go with its last use."""

from __future__ import annotations

import io
import mmap
import os
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

import numpy as np

from parity.containers.layout import Placed
from parity.errors import CorruptCheckpointError

SMALL = 2**20
"""Arrays of fewer bytes are read: a mapping would cost more than it saves."""


class MappedState(Mapping[str, np.ndarray]):
    """Names to arrays, as a dict has them, of which only those in use take memory.

    Every look-up maps the array's part of the file anew, privately: writing into an array changes neither the file
    nor the state. What is small, or lies in the file otherwise than in memory (strided, unaligned), is copied.

    The file is to stay as it is. It is looked at before each look-up: one that was replaced by another goes on being
    read, since it is kept open, and one that was written over is an error.
    """

    def __init__(self, path: Path, file: BinaryIO | io.FileIO, arrays: Mapping[str, Placed]) -> None:
        self._path = path
        self._arrays = arrays
        self._seen = _signature(file)
        # Unbuffered: copies of a file share its position, of which a buffer would know nothing.
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
        """Map one array; float32 and the like lie in the file as they are, others are copied.

        Raises:
            CorruptCheckpointError: the file was written over since it was opened.
        """
        placed = self._arrays[name]
        if not placed.size:
            return np.empty(placed.shape, placed.dtype.newbyteorder("="))
        if placed.extent < SMALL:
            return self.read(name)
        self._check()
        start = placed.offset - placed.offset % mmap.ALLOCATIONGRANULARITY
        first = placed.offset - start
        try:
            window = mmap.mmap(self._file.fileno(), first + placed.extent, access=mmap.ACCESS_COPY, offset=start)
        except OSError:
            # Each mapping takes one of the files that a process may hold open, a thousand by default.
            return self.read(name)
        return _plain(np.ndarray(placed.shape, placed.dtype, window, first, placed.strides))

    def read(self, name: str) -> np.ndarray:
        """The array in memory of its own.

        Raises:
            CorruptCheckpointError: the file was written over since it was opened.
        """
        placed = self._arrays[name]
        if placed.extent >= SMALL and placed.extent != placed.size * placed.dtype.itemsize:
            return np.array(self[name])
        self._check()
        buffer = np.empty(placed.extent, np.uint8)
        self._file.seek(placed.offset)
        left = memoryview(buffer.data)
        while left:
            count = self._file.readinto(left)
            if not count:
                raise CorruptCheckpointError(f"{self._path} was cut short while it was in use; read it again")
            left = left[count:]
        return _plain(np.ndarray(placed.shape, placed.dtype, buffer, 0, placed.strides))

    def outline(self) -> dict[str, np.ndarray]:
        """Arrays of the same names, shapes and dtypes, all zeros, that take no memory and read nothing."""
        return {
            name: np.broadcast_to(np.zeros((), p.dtype.newbyteorder("=")), p.shape) for name, p in self._arrays.items()
        }

    def without(self, names: Collection[str]) -> MappedState:
        """The same state but for some names."""
        return MappedState(self._path, self._file, {n: p for n, p in self._arrays.items() if n not in names})

    def without_prefix(self, prefix: str) -> MappedState:
        """The same state with names that lack what all of them begin with."""
        return MappedState(self._path, self._file, {n.removeprefix(prefix): p for n, p in self._arrays.items()})

    def _check(self) -> None:
        if _signature(self._file) != self._seen:
            raise CorruptCheckpointError(f"{self._path} was written over while it was in use; read it again")


def _plain(array: np.ndarray) -> np.ndarray:
    """The array as it is if it lies in memory as NumPy's own do, else a copy that does."""
    if array.flags.c_contiguous and array.flags.aligned and array.dtype.isnative:
        return array
    return np.array(array, array.dtype.newbyteorder("="), order="C")


def _signature(file: BinaryIO | io.FileIO) -> tuple[int, int]:
    status = os.fstat(file.fileno())
    return status.st_size, status.st_mtime_ns
