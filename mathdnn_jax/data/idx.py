"""Reading and checking the header of an IDX file, the format of MNIST."""

from __future__ import annotations

import math
import struct
from pathlib import Path

from mathdnn_jax.errors import DataUnavailableError

_UNSIGNED_BYTE = 0x08


def idx_shape(path: Path, rank: int) -> tuple[int, ...]:
    """Return the shape of the array of unsigned bytes in an IDX file, after checking that the file is complete.

    The file starts with the big-endian 32-bit words `0x0800 + rank, n_1, ..., n_rank`, followed by the `n_1 ··· n_rank`
    bytes of the array and nothing else.

    Raises:
        DataUnavailableError: The file cannot be read, is not an IDX file, is truncated or too long.
    """
    header_size = 4 * (1 + rank)
    try:
        with path.open("rb") as file:
            header = file.read(header_size)
        size = path.stat().st_size
    except OSError as error:
        raise DataUnavailableError(f"cannot read {path}: {error}; check that it is a readable file") from error
    if len(header) < header_size:
        raise damaged(path, f"it has {size} bytes, but its header alone should have {header_size}")
    magic, *shape = struct.unpack(f">{1 + rank}I", header)
    expected_magic = (_UNSIGNED_BYTE << 8) + rank
    if magic != expected_magic:
        raise damaged(path, f"it starts with {magic:#010x}, but should start with {expected_magic:#010x}")
    expected_size = header_size + math.prod(shape)
    if size != expected_size:
        raise damaged(path, f"it has {size} bytes, but should have {expected_size} according to its header")
    return tuple(shape)


def damaged(path: Path, reason: str) -> DataUnavailableError:
    """The error for a damaged file, with the reason and the remedy."""
    return DataUnavailableError(f"{path} is damaged: {reason}; delete it, and it will be downloaded again when needed")
