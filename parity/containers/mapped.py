"""A state dict that stays in its file: each array is mapped when it is asked for, and let go with its last use."""

from __future__ import annotations

import mmap
import os
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

import numpy as np

from parity.containers.layout import Placed
from parity.errors import CheckpointNotFoundError, CorruptCheckpointError


class MappedState(Mapping[str, np.ndarray]):
    """Names to arrays, as a dict has them, of which only those in use take memory.

    Every look-up maps the array's part of the file anew, privately: writing into an array changes neither the file
    nor the state. The file is to stay as it is. It is looked at before each look-up, and one that was replaced may
    go on being read (the old file is kept open), while one that was written over is an error.
    """

    def __init__(self, path: Path, file: BinaryIO, arrays: Mapping[str, Placed]) -> None:
        self._path = path
        self._arrays = arrays
        self._seen = _signature(file)
        self._file = os.fdopen(os.dup(file.fileno()), "rb")

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
        if _signature(self._file) != self._seen:
            raise CorruptCheckpointError(f"{self._path} was written over while it was in use; read it again")
        start = placed.offset - placed.offset % mmap.ALLOCATIONGRANULARITY
        first = placed.offset - start
        try:
            window = mmap.mmap(self._file.fileno(), first + placed.extent, access=mmap.ACCESS_COPY, offset=start)
        except (OSError, ValueError) as error:
            raise CheckpointNotFoundError(f"checkpoint {self._path} cannot be mapped into memory: {error}") from error
        array = np.ndarray(placed.shape, placed.dtype, window, first, placed.strides)
        if array.flags.c_contiguous and array.flags.aligned and array.dtype.isnative:
            return array
        return np.array(array, array.dtype.newbyteorder("="), order="C")

    def without(self, names: Collection[str]) -> MappedState:
        """The same state but for some names."""
        return MappedState(self._path, self._file, {n: p for n, p in self._arrays.items() if n not in names})


def _signature(file: BinaryIO) -> tuple[int, int]:
    status = os.fstat(file.fileno())
    return status.st_size, status.st_mtime_ns
