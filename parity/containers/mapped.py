"""A state dict that stays in its files: each array is mapped when requested and released after its last use."""

from __future__ import annotations

import mmap
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from parity.containers.positional import PositionalFile
from parity.containers.tensor_map import StoredArray
from parity.display import short
from parity.errors import UnreadableCheckpointError

MIN_MAPPED_BYTES = 2**20
"""Smaller arrays are read, because a mapping would cost more than it saves."""
WINDOW = 2**20
"""Number of bytes in which a strided array is read at a time."""


class Located(NamedTuple):
    """An array and the file that it is in."""

    file: PositionalFile
    stored: StoredArray


class MappedState(Mapping[str, np.ndarray]):
    """A mapping from names to arrays in which only arrays in use take memory. Several threads may use it at once.

    Every look-up maps the array's part of the file again, privately: writing to an array changes neither the file nor
    the state. Arrays that are small, or stored differently than in memory (strided, unaligned), are copied.

    The files must not change. This is checked before each look-up: a file that was replaced by another is still read,
    because it is kept open, but a file that was overwritten is an error.
    """

    def __init__(self, located: Mapping[str, Located]) -> None:
        self.located = located

    @classmethod
    def of(cls, path: Path, file: BinaryIO, arrays: Mapping[str, StoredArray]) -> MappedState:
        """The state in one file."""
        opened = PositionalFile(path, file)
        return cls({name: Located(opened, stored) for name, stored in arrays.items()})

    def __iter__(self) -> Iterator[str]:
        return iter(self.located)

    def __len__(self) -> int:
        return len(self.located)

    def __contains__(self, name: object) -> bool:
        return name in self.located

    def __getitem__(self, name: str) -> np.ndarray:
        """Map one array, or copy it if it is stored differently than in memory.

        Raises:
            CorruptCheckpointError: The file was overwritten since it was opened.
        """
        file, stored = self.located[name]
        if stored.extent < MIN_MAPPED_BYTES or not stored.compact or not stored.dtype.isnative:
            return self.read(name)
        file.check()
        start = stored.offset - stored.offset % mmap.ALLOCATIONGRANULARITY
        first = stored.offset - start
        window = file.map(start, first + stored.extent)
        if window is None:
            return self.read(name)
        array = np.ndarray(stored.shape, stored.dtype, window, first)
        return array if array.flags.aligned else self.read(name)

    def read(self, name: str) -> np.ndarray:
        """Read the array into its own memory.

        Raises:
            CorruptCheckpointError: The file was overwritten since it was opened.
            UnreadableCheckpointError: The operating system fails to read it, or there is no memory for it.
        """
        file, stored = self.located[name]
        file.check()
        try:
            if not stored.compact:
                return _gathered(file, stored)
            array = _bytes(file, stored.offset, stored.extent).view(stored.dtype).reshape(stored.shape)
        except MemoryError as error:
            raise UnreadableCheckpointError(
                f"{file.path}: there is no memory for {short(name)}, an array of {stored.extent:,} bytes"
            ) from error
        return array if stored.dtype.isnative else array.byteswap(inplace=True).view(stored.dtype.newbyteorder("="))

    @property
    def nbytes(self) -> int:
        """The number of bytes that all arrays take in memory."""
        return sum(stored.size * stored.dtype.itemsize for _, stored in self.located.values())

    def outline(self) -> dict[str, np.ndarray]:
        """Arrays of zeros with the same names, shapes and dtypes, which take no memory; nothing is read."""
        return {
            name: np.broadcast_to(np.zeros((), p.dtype.newbyteorder("=")), p.shape)
            for name, (_, p) in self.located.items()
        }

    def without(self, names: Collection[str]) -> MappedState:
        """The same state without some of its names."""
        return MappedState({name: found for name, found in self.located.items() if name not in names})

    def without_prefix(self, prefix: str) -> MappedState:
        """The same state with `prefix` removed from its names."""
        return MappedState({name.removeprefix(prefix): found for name, found in self.located.items()})


def _bytes(file: PositionalFile, offset: int, count: int) -> np.ndarray:
    buffer = np.empty(count, np.uint8)
    file.read_into(buffer.data, offset)
    return buffer


def _gathered(file: PositionalFile, stored: StoredArray) -> np.ndarray:
    """A strided array, read in windows of the file, so that it takes little memory besides its own."""
    result = np.empty(stored.shape, stored.dtype.newbyteorder("="))
    for place, part in _windows(stored):
        if part.size:
            buffer = _bytes(file, part.offset, part.extent)
            result[place] = np.ndarray(part.shape, part.dtype, buffer, 0, part.strides)
    return result


def _windows(stored: StoredArray) -> Iterator[tuple[tuple[slice, ...], StoredArray]]:
    """(place in the array, part of it) of parts that lie within a window, cut along the axis with the largest step."""
    everything = tuple(slice(None) for _ in stored.shape)
    if stored.extent <= WINDOW or not stored.nested:
        yield everything, stored
        return
    axis = max((k for k, n in enumerate(stored.shape) if n > 1), key=lambda k: stored.strides[k])
    count, step = stored.shape[axis], stored.strides[axis]
    inner = stored.extent - (count - 1) * step
    rows = max(1, 1 + (WINDOW - inner) // step)
    for first in range(0, count, rows):
        last = min(count, first + rows)
        shape = (*stored.shape[:axis], last - first, *stored.shape[axis + 1 :])
        part = StoredArray(stored.dtype, shape, stored.strides, stored.offset + first * step)
        for place, smaller in _windows(part):
            yield (*place[:axis], slice(first, last), *place[axis + 1 :]), smaller
