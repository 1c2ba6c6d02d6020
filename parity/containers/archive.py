"""PyTorch's zip container: uncompressed records `<name>/data.pkl` and `<name>/data/<key>`, with checksums."""

from __future__ import annotations

import struct
import zipfile
import zlib
from pathlib import Path
from typing import BinaryIO

from parity.containers.budget import Budget
from parity.containers.kinds import AGAIN, other_archive
from parity.containers.objects import BadPickleError, Storage, whole_number
from parity.containers.pickles import MAX_PICKLE_BYTES, Machine
from parity.containers.tensor_map import ByteRange, Source, TensorMap, file_size, map_tensors
from parity.containers.wrapped import Inside
from parity.display import printable, short
from parity.errors import CheckpointError, CorruptCheckpointError, UnsupportedCheckpointError

MAX_DIRECTORY_BYTES = 2**22
"""Maximum size of the list of records: enough for forty thousand records as PyTorch writes them."""
MAX_COMMENT_BYTES = 2**16 - 1
MAX_RATIO = 100
"""A compressed archive that claims to unpack to more than this many times its size is taken for a bomb."""
RECORD_UNITS = 16
CHUNK = 2**20


def is_archive(file: BinaryIO) -> bool:
    """Whether the file begins with a record of a zip archive."""
    file.seek(0)
    return file.read(4) == b"PK\x03\x04"


def read_archive(path: Path, file: BinaryIO, budget: Budget, inside: Inside | None = None) -> TensorMap:
    """Locate the arrays of a zip archive. Every record's checksum is verified, which PyTorch itself does not do.

    Raises:
        CorruptCheckpointError: The archive is damaged, was altered, or claims to unpack to more bytes than it has.
        UnsupportedCheckpointError: It is compressed, or an archive of another kind.
        UnsafeCheckpointError, NotAStateDictError: As in `parity.load`.
        BadPickleError: Its pickle is damaged or refused.
        ExhaustedError: It asks for more work than its size warrants.
    """
    size = file_size(file)
    records = _records(path, file, size, budget)
    (pickled,) = (name for name in records if name.endswith("/data.pkl") and name.count("/") == 1)
    folder = pickled.removesuffix("data.pkl")
    order = _small(file, records.get(f"{folder}byteorder", (0, 0))) or b"little"
    if order not in (b"little", b"big"):
        raise CorruptCheckpointError(f"{path} names a byte order that is neither little nor big; obtain it again")
    if records[pickled][1] > MAX_PICKLE_BYTES:
        raise UnsupportedCheckpointError(
            f"{path} has a pickle of {records[pickled][1]:,} bytes, more than {MAX_PICKLE_BYTES:,}: it holds more than "
            f"names and shapes of weights; {AGAIN}"
        )

    def where(storage: Storage) -> ByteRange:
        start, stored = records[f"{folder}data/{storage.key}"]
        if not isinstance(storage.dtype, str) and storage.length * storage.dtype.itemsize != stored:
            raise CorruptCheckpointError(
                f"{path} is damaged: storage {short(storage.key)} has {stored:,} bytes, but claims "
                f"{storage.length:,} numbers; obtain it again"
            )
        return start, stored

    machine = Machine(_bytes(file, records[pickled]), budget, _storage, skips=inside is not None)
    content = machine.load()
    source = Source(path, size, where, budget, "<" if order == b"little" else ">", [*machine.foreign])
    return map_tensors(source, content, inside)


def _storage(identity: tuple[object, ...]) -> Storage:
    if len(identity) != 5 or not isinstance(key := identity[2], str):
        raise BadPickleError("a storage that is not named as in a zip archive")
    return Storage(identity[1].dtype, key, whole_number(identity[4]))  # type: ignore[attr-defined]


def _bytes(file: BinaryIO, where: ByteRange) -> bytes:
    file.seek(where[0])
    return file.read(where[1])


def _small(file: BinaryIO, where: ByteRange) -> bytes:
    return _bytes(file, where)[:16] if where[1] <= 16 else b"long"


def _records(path: Path, file: BinaryIO, size: int, budget: Budget) -> dict[str, ByteRange]:
    """The byte range of each record, after verifying its checksum."""
    _check_directory(path, file, size, budget)
    records: dict[str, ByteRange] = {}
    try:
        file.seek(0)
        with zipfile.ZipFile(file) as archive:
            entries = archive.infolist()
        if other := other_archive(path, [entry.filename for entry in entries]):
            raise other
        _check_sizes(path, entries, size)
        for entry in entries:
            if entry.filename in records:
                raise CorruptCheckpointError(f"{path} has two records {short(entry.filename)}; refused")
            records[entry.filename] = _record(path, file, entry)
    except (zipfile.BadZipFile, OSError, EOFError, ValueError, NotImplementedError, struct.error) as error:
        if isinstance(error, CheckpointError):
            raise
        reason = printable(str(error)[:200])
        raise CorruptCheckpointError(f"{path} is a damaged zip archive: {reason}; obtain it again") from error
    return records


def _check_sizes(path: Path, entries: list[zipfile.ZipInfo], size: int) -> None:
    """Check that the records are not larger than the file, and are as PyTorch writes them: not compressed."""
    compressed = [entry.filename for entry in entries if entry.compress_type]
    claimed = sum(entry.file_size for entry in entries)
    if claimed > (MAX_RATIO * size if compressed else size):
        raise CorruptCheckpointError(f"{path} claims to unpack to more bytes than it has, {claimed:,}; refused")
    if compressed:
        raise UnsupportedCheckpointError(
            f"{path} has compressed records such as {short(compressed[0])}, which torch.save does not write: unpack "
            f"the archive, and pack it again without compression"
        )


def _check_directory(path: Path, file: BinaryIO, size: int, budget: Budget) -> None:
    """Check, before parsing it, that the list of records ends the file, as PyTorch writes it, and is not too long."""
    file.seek(max(0, size - 98))
    tail = file.read(98)
    end = tail[-22:]
    if len(end) < 22 or not end.startswith(b"PK\x05\x06"):
        file.seek(max(0, size - 22 - MAX_COMMENT_BYTES))
        tail = file.read(22 + MAX_COMMENT_BYTES)
        found = tail.rfind(b"PK\x05\x06")
        if found >= 0 and tail[found + 20 : found + 22] == struct.pack("<H", max(0, len(tail) - found - 22)):
            raise UnsupportedCheckpointError(
                f"{path} is a zip archive with a comment at its end, which torch.save does not write; {AGAIN}"
            )
        raise CorruptCheckpointError(
            f"{path} begins but does not end like a zip archive: it is truncated or damaged; obtain it again"
        )
    length, comment = struct.unpack("<12xIxxxxH", end)
    if tail[-42:].startswith(b"PK\x06\x07"):
        length = struct.unpack_from("<Q", tail, 40)[0] if tail.startswith(b"PK\x06\x06") else size
    if comment or length > size:
        raise CorruptCheckpointError(
            f"{path} claims {length:,} bytes for the list of its records and {comment:,} for a comment, more than it "
            f"has; obtain it again"
        )
    if length > MAX_DIRECTORY_BYTES:
        raise UnsupportedCheckpointError(
            f"{path} lists its records in {length:,} bytes, more than {MAX_DIRECTORY_BYTES:,}; {AGAIN}"
        )
    file.seek(max(0, size - 98 - length))
    budget.pay(RECORD_UNITS * file.read(length + 98).count(b"PK\x01\x02"))


def _record(path: Path, file: BinaryIO, record: zipfile.ZipInfo) -> ByteRange:
    """The byte range of a record according to its own header."""
    file.seek(record.header_offset)
    header = file.read(30)
    if len(header) < 30 or not header.startswith(b"PK\x03\x04"):
        raise CorruptCheckpointError(f"{path} is damaged: there is no record {short(record.filename)}; obtain it again")
    flags, method, name, extra = struct.unpack("<6xHH16xHH", header)
    if flags & record.flag_bits & 1:
        raise UnsupportedCheckpointError(
            f"{path} has an encrypted record {short(record.filename)}, which torch.save does not write: unpack the "
            f"archive, and pack it again without encryption or compression"
        )
    if method or flags & 1 or record.flag_bits & 1 or record.compress_size != record.file_size:
        raise CorruptCheckpointError(
            f"{path} is damaged: it describes its record {short(record.filename)} in two ways; obtain it again"
        )
    if file.read(name) != record.orig_filename.encode("utf-8" if record.flag_bits & 0x800 else "cp437"):
        raise CorruptCheckpointError(f"{path} is damaged: {short(record.filename)} has two names; obtain it again")
    start = record.header_offset + 30 + name + extra
    file.seek(start)
    checksum, left, buffer = 0, record.file_size, bytearray(min(CHUNK, record.file_size))
    view = memoryview(buffer)
    while left:
        count = file.readinto(view[: min(left, CHUNK)])  # type: ignore[attr-defined]
        if not count:
            raise CorruptCheckpointError(f"{path} ends within its record {short(record.filename)}; obtain it again")
        checksum = zlib.crc32(view[:count], checksum)
        left -= count
    if checksum != record.CRC:
        raise CorruptCheckpointError(
            f"{path} was altered since it was written: the checksum of its record {short(record.filename)} does not "
            f"match; obtain it again"
        )
    return start, record.file_size
