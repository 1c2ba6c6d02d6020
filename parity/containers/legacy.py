"""PyTorch's container up to version 1.5: five pickles, then the length and bytes of each storage, without checksums."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO

from parity.containers.objects import BadPickleError, Storage, whole_number
from parity.containers.pickles import MAX_PICKLE_BYTES, Machine
from parity.containers.tensor_map import ByteRange, TensorMap, file_size, map_tensors
from parity.containers.wrapped import Inside, short
from parity.errors import CorruptCheckpointError

MAGIC = 0x1950A86A20F9469CFC6C
"""The first pickle of such a file, by which PyTorch recognises it."""
VERSION = 1001


def read_legacy(path: Path, file: BinaryIO, inside: Inside | None = None) -> TensorMap:
    """Locate the arrays of a legacy file.

    Raises:
        CorruptCheckpointError, NotAStateDictError: As in `parity.load`.
        BadPickleError: It is another kind of file, or one of its pickles is damaged or refused.
    """
    size = file_size(file)
    file.seek(0)
    storages: dict[str | int, Storage] = {}
    machine = Machine(file.read(MAX_PICKLE_BYTES), lambda identity: _storage(identity, storages))
    if machine.load() != MAGIC or machine.load() != VERSION:
        raise BadPickleError("not the beginning of a checkpoint")
    machine.load()  # about the machine that wrote it
    content = machine.load()
    keys = machine.load()
    if type(keys) is not list:
        raise BadPickleError("no list of storages")
    ranges: dict[str | int, ByteRange] = {}
    position = machine.position
    for key in keys:
        if not isinstance(key, str | int) or key not in storages or key in ranges:
            raise CorruptCheckpointError(f"{path} lists a storage twice, or one that does not exist; obtain it again")
        file.seek(position)
        head = file.read(8)
        claimed = storages[key]
        width = 1 if isinstance(claimed.dtype, str) else claimed.dtype.itemsize
        if len(head) < 8 or struct.unpack("<q", head)[0] != claimed.length:
            raise CorruptCheckpointError(
                f"{path} is truncated or damaged: storage {short(key)} is not where it should be; obtain it again"
            )
        ranges[key] = position + 8, claimed.length * width
        position += 8 + claimed.length * width
    if position != size:
        raise CorruptCheckpointError(
            f"{path} has {size:,} bytes, but its storages end at byte {position:,}: it is truncated or damaged; "
            f"obtain it again"
        )

    def where(storage: Storage) -> ByteRange:
        start, stored = ranges[storage.key]
        if isinstance(storage.dtype, str) or storage.within is None:
            return start, stored
        width = storage.dtype.itemsize
        if (storage.first + storage.within) * width > stored:
            raise CorruptCheckpointError(f"{path} has a view beyond storage {short(storage.key)}; obtain it again")
        return start + storage.first * width, storage.within * width

    return map_tensors(path, content, where, size, inside=inside)


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
