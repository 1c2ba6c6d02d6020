"""PyTorch's zip container: uncompressed records `<name>/data.pkl` and `<name>/data/<key>`, with checksums."""

from __future__ import annotations

import struct
import zipfile
import zlib
from pathlib import Path
from typing import BinaryIO

from parity.containers.objects import BadPickleError, Storage, whole_number
from parity.containers.pickles import MAX_PICKLE_BYTES, Machine
from parity.containers.tensor_map import ByteRange, TensorMap, file_size, map_tensors
from parity.containers.wrapped import Inside, short
from parity.errors import CorruptCheckpointError, UnsafeCheckpointError

MAX_DIRECTORY_BYTES = 2**22
"""Maximum size of the list of records: enough for forty thousand records as PyTorch writes them."""
CHUNK = 2**20


def is_archive(file: BinaryIO) -> bool:
    """Whether the file begins with a record of a zip archive."""
    file.seek(0)
    return file.read(4) == b"PK\x03\x04"


def read_archive(path: Path, file: BinaryIO, inside: Inside | None = None) -> TensorMap:
    """Locate the arrays of a zip archive. Every record's checksum is verified, which PyTorch itself does not do.

    Raises:
        CorruptCheckpointError: The archive is damaged, was altered, or claims to unpack to more bytes than it has.
        UnsafeCheckpointError, NotAStateDictError: As in `parity.load`.
        BadPickleError: Its pickle is damaged or refused.
    """
    size = file_size(file)
    records = _records(path, file, size)
    pickles = [name for name in records if name.endswith("/data.pkl") and name.count("/") == 1]
    if len(pickles) != 1:
        raise CorruptCheckpointError(
            f"{path} is a zip archive without exactly one data.pkl in a folder: it was not written by torch.save"
        )
    folder = pickles[0].removesuffix("data.pkl")
    if f"{folder}constants.pkl" in records:
        raise UnsafeCheckpointError(
            f"{path} is a TorchScript archive, which is a program and not only weights; none of it was run. Save "
            f"module.state_dict() where it was created"
        )
    order = _small(file, records.get(f"{folder}byteorder", (0, 0))) or b"little"
    if order not in (b"little", b"big"):
        raise CorruptCheckpointError(f"{path} names a byte order that is neither little nor big; obtain it again")
    if records[pickles[0]][1] > MAX_PICKLE_BYTES:
        raise CorruptCheckpointError(f"{path} has a pickle of more than {MAX_PICKLE_BYTES:,} bytes; refused")

    def where(storage: Storage) -> ByteRange:
        start, stored = records[f"{folder}data/{storage.key}"]
        if not isinstance(storage.dtype, str) and storage.length * storage.dtype.itemsize != stored:
            raise CorruptCheckpointError(
                f"{path} is damaged: storage {short(storage.key)} has {stored:,} bytes, but claims "
                f"{storage.length:,} numbers; obtain it again"
            )
        return start, stored

    content = Machine(_bytes(file, records[pickles[0]]), _storage).load()
    return map_tensors(path, content, where, size, "<" if order == b"little" else ">", inside)


def _storage(identity: tuple[object, ...]) -> Storage:
    if len(identity) != 5 or not isinstance(key := identity[2], str):
        raise BadPickleError("a storage that is not named as in a zip archive")
    return Storage(identity[1].dtype, key, whole_number(identity[4]))  # type: ignore[attr-defined]


def _bytes(file: BinaryIO, where: ByteRange) -> bytes:
    file.seek(where[0])
    return file.read(where[1])


def _small(file: BinaryIO, where: ByteRange) -> bytes:
    return _bytes(file, where)[:16] if where[1] <= 16 else b"long"


def _records(path: Path, file: BinaryIO, size: int) -> dict[str, ByteRange]:
    """The byte range of each record, after verifying its checksum."""
    _check_directory(path, file, size)
    records: dict[str, ByteRange] = {}
    try:
        file.seek(0)
        with zipfile.ZipFile(file) as archive:
            # PyTorch stores records uncompressed, so a record larger than the file is a decompression bomb.
            if sum(record.file_size for record in archive.infolist()) > size:
                raise CorruptCheckpointError(f"{path} claims to unpack to more bytes than it has; refused")
            for record in archive.infolist():
                if record.filename in records:
                    raise CorruptCheckpointError(f"{path} has two records {short(record.filename)}; refused")
                records[record.filename] = _record(path, file, record)
    except (zipfile.BadZipFile, OSError, EOFError, ValueError, NotImplementedError, struct.error) as error:
        if isinstance(error, CorruptCheckpointError):
            raise
        raise CorruptCheckpointError(f"{path} is a damaged zip archive: {str(error)[:200]}; obtain it again") from error
    return records


def _check_directory(path: Path, file: BinaryIO, size: int) -> None:
    """Check, before parsing it, that the list of records ends the file, as PyTorch writes it, and is not too long."""
    file.seek(max(0, size - 98))
    tail = file.read(98)
    end = tail[-22:]
    if len(end) < 22 or not end.startswith(b"PK\x05\x06"):
        raise CorruptCheckpointError(
            f"{path} begins but does not end like a zip archive: it is truncated or damaged; obtain it again"
        )
    length, comment = struct.unpack("<12xIxxxxH", end)
    if tail[-42:].startswith(b"PK\x06\x07"):
        length = struct.unpack_from("<Q", tail, 40)[0] if tail.startswith(b"PK\x06\x06") else size
    if comment or length > MAX_DIRECTORY_BYTES:
        raise CorruptCheckpointError(
            f"{path} lists its records in {length:,} bytes, more than {MAX_DIRECTORY_BYTES:,}; refused"
        )


def _record(path: Path, file: BinaryIO, record: zipfile.ZipInfo) -> ByteRange:
    """The byte range of a record according to its own header."""
    file.seek(record.header_offset)
    header = file.read(30)
    if len(header) < 30 or not header.startswith(b"PK\x03\x04"):
        raise CorruptCheckpointError(f"{path} is damaged: there is no record {short(record.filename)}; obtain it again")
    flags, method, name, extra = struct.unpack("<6xHH16xHH", header)
    if method or record.compress_type or (flags | record.flag_bits) & 1 or record.compress_size != record.file_size:
        raise CorruptCheckpointError(
            f"{path} has a compressed or encrypted record {short(record.filename)}; torch.save writes neither"
        )
    if file.read(name) != record.orig_filename.encode("utf-8" if record.flag_bits & 0x800 else "cp437"):
        raise CorruptCheckpointError(f"{path} is damaged: {short(record.filename)} has two names; obtain it again")
    start = record.header_offset + 30 + name + extra
    file.seek(start)
    checksum, left, buffer = 0, record.file_size, bytearray(CHUNK)
    view = memoryview(buffer)
    while left:
        count = file.readinto(view[: min(left, CHUNK)])  # type: ignore[attr-defined]
        if not count:
            raise CorruptCheckpointError(f"{path} ends within its record {short(record.filename)}; obtain it again")
        checksum = zlib.crc32(view[:count], checksum)
        left -= count
    if checksum != record.CRC:
        raise CorruptCheckpointError(
            f"{path} was altered since it was written: the checksum of its record {record.filename[:80]} does not "
            f"match; obtain it again"
        )
    return start, record.file_size
