"""The safetensors container: a JSON header with the location of each array, then the bytes, without checksums."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

import ml_dtypes
import numpy as np

from mathdnn_jax.errors import MissingDependencyError
from parity.containers.budget import Budget
from parity.containers.json_text import parse_json
from parity.containers.tensor_map import (
    TENSOR_UNITS,
    StoredArray,
    TensorMap,
    check_claim,
    entries,
    exceeds_numpy,
    file_size,
)
from parity.display import listed, printable, short
from parity.errors import CorruptCheckpointError, NotAStateDictError, UnsupportedCheckpointError

MAX_HEADER_BYTES = 2**22
"""Maximum size of the header: enough for about forty thousand arrays. The format itself allows 25 times as much."""
JSON_PUNCTUATION = (b'"', b",", b":", b"[", b"{")
"""What JSON text has at least one of for every object that it becomes in memory."""
DTYPES: dict[str, np.dtype] = {
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "C64": np.dtype("<c8"),
    "I64": np.dtype("<i8"),
    "I32": np.dtype("<i4"),
    "I16": np.dtype("<i2"),
    "I8": np.dtype("i1"),
    "U64": np.dtype("<u8"),
    "U32": np.dtype("<u4"),
    "U16": np.dtype("<u2"),
    "U8": np.dtype("u1"),
    "BOOL": np.dtype("?"),
}


def is_safetensors(path: Path, file: BinaryIO) -> bool:
    """Recognise the format by its first bytes, or by its suffix if they are not those of a zip or a pickle."""
    if holds_safetensors(file):
        return True
    file.seek(0)
    return path.suffix == ".safetensors" and not file.read(4).startswith((b"PK\x03\x04", b"\x80"))


def holds_safetensors(file: BinaryIO) -> bool:
    """Recognise the format by its first bytes: neither a zip nor a pickle has a brace as its ninth byte."""
    file.seek(0)
    head = file.read(9)
    return len(head) == 9 and head[8:] == b"{" and int.from_bytes(head[:8], "little") < file_size(file)


def read_safetensors(path: Path, file: BinaryIO, budget: Budget) -> TensorMap:
    """Locate the arrays of a safetensors file. The format's own reader checks the header first.

    Raises:
        CorruptCheckpointError: The file is damaged, or gives a name twice.
        UnsupportedCheckpointError: It has a longer header than is read here.
        NotAStateDictError: An array has a dtype that NumPy lacks.
        MissingDependencyError: safetensors is not installed.
        ExhaustedError: It asks for more work than its size warrants.
    """
    try:
        from safetensors import SafetensorError, safe_open
    except ImportError as error:
        raise MissingDependencyError(
            'safetensors is needed to read such files: pip install "mathdnn_jax[parity]"'
        ) from error
    size = file_size(file)
    file.seek(0)
    length = int.from_bytes(file.read(8), "little")
    if length > size - 8:
        raise CorruptCheckpointError(
            f"{path} is not a safetensors file, or is truncated: it has {size:,} bytes, and claims {length:,} for its "
            f"header"
        )
    if length > MAX_HEADER_BYTES:
        raise UnsupportedCheckpointError(
            f"{path} has a header of {length:,} bytes, more than {MAX_HEADER_BYTES:,}: save its arrays in several files"
        )
    text = file.read(length)
    # The format's own reader parses it besides.
    budget.pay(json_units(text) * 3 // 2)
    try:
        with safe_open(path, "numpy"):
            pass
        header = parse_json(path, str(text, "utf-8"))
        metadata = header.pop("__metadata__", None) or {}
    except CorruptCheckpointError:
        raise
    except (SafetensorError, ValueError, TypeError, AttributeError, OSError, RecursionError) as error:
        reason = printable((str(error).strip().splitlines() or ["no further information"])[0][:300])
        raise CorruptCheckpointError(f"{path} is not a readable safetensors file: {reason}") from error
    problems: list[str] = []
    arrays: dict[str, StoredArray] = {}
    # The arrays are located in the order in which they were written, while the header's order is arbitrary.
    for name, entry in sorted(header.items(), key=lambda item: tuple(item[1]["data_offsets"])):
        budget.pay(TENSOR_UNITS)
        dtype, shape = DTYPES.get(entry["dtype"]), tuple(entry["shape"])
        if dtype is None:
            problems.append(f"{short(name)} is a tensor of {short(entry['dtype'])} that NumPy cannot hold")
        elif exceeds_numpy(shape):
            problems.append(f"{short(name)} claims impossible axes")
        else:
            strides = tuple(dtype.itemsize * entries(shape[k + 1 :]) for k in range(len(shape)))
            arrays[name] = StoredArray(dtype, shape, strides, 8 + length + entry["data_offsets"][0])
    if problems:
        raise NotAStateDictError(f"{path} holds more than plain arrays: {listed(problems)}")
    check_claim(path, arrays, size)
    return TensorMap(arrays, metadata)


def json_units(text: bytes) -> int:
    """The units of work that it takes to parse JSON: each number, text, list and object has its punctuation."""
    # In memory, a single character may give all others four bytes each.
    wide = 0 if text.isascii() else len(text) // 12
    return sum(text.count(mark) for mark in JSON_PUNCTUATION) + wide
