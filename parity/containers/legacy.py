"""PyTorch's container up to version 1.5: five pickles, then the length and bytes of each storage, without checksums."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from parity.containers.budget import Budget
from parity.containers.kinds import AGAIN
from parity.containers.objects import BadPickleError, RefusedError, Storage, whole_number
from parity.containers.pickles import MAX_PICKLE_BYTES, Machine
from parity.containers.tensor_map import ByteRange, Source, TensorMap, file_size, map_tensors
from parity.containers.wrapped import Inside
from parity.display import kind, short
from parity.errors import CorruptCheckpointError, UnsupportedCheckpointError

MAGIC = 0x1950A86A20F9469CFC6C
"""The first pickle of such a file, by which PyTorch recognises it."""
VERSION = 1001


def read_legacy(path: Path, file: BinaryIO, budget: Budget, inside: Inside | None = None) -> TensorMap:
    """Locate the arrays of a legacy file.

    Raises:
        CorruptCheckpointError, NotAStateDictError: As in `parity.load`.
        UnsupportedCheckpointError: It is a pickle, but not of PyTorch's.
        BadPickleError: It is another kind of file, or one of its pickles is damaged or refused.
        ExhaustedError: It asks for more work than its size warrants.
    """
    size = file_size(file)
    file.seek(0)
    storages: dict[str | int, Storage] = {}
    head, skips = file.read(MAX_PICKLE_BYTES), inside is not None
    machine = Machine(head, budget, lambda identity: _storage(identity, storages), skips=skips)
    _check_magic(path, machine)
    machine.load()  # about the machine that wrote it
    content = machine.load()
    keys = machine.load()
    if type(keys) is not list:
        raise BadPickleError("no list of storages")
    ranges = _ranges(path, file, keys, storages, machine.position)

    def where(storage: Storage) -> ByteRange:
        start, stored = ranges[storage.key]
        if isinstance(storage.dtype, str) or storage.within is None:
            return start, stored
        width = storage.dtype.itemsize
        if (storage.first + storage.within) * width > stored:
            raise CorruptCheckpointError(f"{path} has a view beyond storage {short(storage.key)}; obtain it again")
        return start + storage.first * width, storage.within * width

    return map_tensors(Source(path, size, where, budget, "<", [*machine.foreign]), content, inside)


def _check_magic(path: Path, machine: Machine) -> None:
    try:
        first = machine.load()
    except MemoryError as error:
        raise BadPickleError("not a pickle") from error
    if machine.foreign:
        raise RefusedError(", ".join(machine.foreign))
    if first != MAGIC and machine.data[:1] == b"\x80":
        raise UnsupportedCheckpointError(
            f"{path} is a pickle of a {kind(first)} that torch.save did not write: {AGAIN}"
        )
    if first != MAGIC or machine.load() != VERSION:
        raise BadPickleError("not the beginning of a checkpoint")


def _ranges(
    path: Path, file: BinaryIO, keys: list[Any], storages: Mapping[str | int, Storage], position: int
) -> dict[str | int, ByteRange]:
    """The byte range of each storage: they follow one another in the order of `keys`, each after its length."""
    size = file_size(file)
    ranges: dict[str | int, ByteRange] = {}
    for key in keys:
        if type(key) not in (str, int) or key not in storages or key in ranges:
            raise CorruptCheckpointError(f"{path} lists a storage twice, or one that does not exist; obtain it again")
        claimed = storages[key]
        width = 1 if isinstance(claimed.dtype, str) else claimed.dtype.itemsize
        # The end of the one before lies within the file, so this is a position that files have.
        file.seek(position)
        head = file.read(8)
        end = position + 8 + claimed.length * width
        if len(head) < 8 or struct.unpack("<q", head)[0] != claimed.length or end > size:
            raise CorruptCheckpointError(
                f"{path} is truncated or damaged: storage {short(key)} is not where it should be, or is longer than "
                f"the file; obtain it again"
            )
        ranges[key] = position + 8, claimed.length * width
        position = end
    if position != size:
        raise CorruptCheckpointError(
            f"{path} has {size:,} bytes, but its storages end at byte {position:,}: it is truncated or damaged; "
            f"obtain it again"
        )
    return ranges


def _storage(identity: tuple[object, ...], storages: dict[str | int, Storage]) -> Storage:
    key, view = identity[2], identity[5] if len(identity) == 6 else None
    if len(identity) != 6 or type(key) not in (str, int):
        raise BadPickleError("a storage that is not named as in a legacy file")
    storage = Storage(identity[1].dtype, key, whole_number(identity[4]))  # type: ignore[attr-defined, arg-type]
    if storages.setdefault(storage.key, storage) != storage:
        raise BadPickleError("two descriptions of one storage")
    if view is None:
        return storage
    if type(view) is not tuple or len(view) != 3:
        raise BadPickleError("an invalid view of a storage")
    return storage._replace(first=whole_number(view[1]), within=whole_number(view[2]))
