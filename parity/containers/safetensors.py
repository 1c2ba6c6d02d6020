"""The safetensors container: a JSON header that says where each array lies, and the bytes. It has no checksums."""

from __future__ import annotations

import json
from pathlib import Path
from typing import BinaryIO

import ml_dtypes
import numpy as np

from mathdnn_jax.errors import MissingDependencyError
from parity.containers.tensor_map import TensorMap, StoredArray, check_claim, entries, file_size, exceeds_numpy
from parity.containers.wrapped import listed, short
from parity.errors import CorruptCheckpointError, NotAStateDictError

MAX_HEADER_BYTES = 2**22
"""The longest header, in bytes: of some forty thousand arrays. The format allows twenty-five times that."""
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
    """Whether the name or the first bytes say so: neither a zip nor a pickle has a brace after eight bytes."""
    if path.suffix == ".safetensors":
        return True
    file.seek(0)
    head = file.read(9)
    return len(head) == 9 and head[8:] == b"{" and int.from_bytes(head[:8], "little") < file_size(file)


def read_safetensors(path: Path, file: BinaryIO) -> TensorMap:
    """Find the arrays of a safetensors file. The format's own reader checks the header first.

    Raises:
        CorruptCheckpointError: it is damaged.
        NotAStateDictError: an array is of a type that NumPy lacks.
        MissingDependencyError: safetensors is not installed.
    """
    try:
        from safetensors import SafetensorError, safe_open
    except ImportError as error:
        raise MissingDependencyError(
            'safetensors is needed to read such files: pip install "mathdnn_jax[parity]"'
        ) from error
    file.seek(0)
    length = int.from_bytes(file.read(8), "little")
    if length > MAX_HEADER_BYTES:
        raise CorruptCheckpointError(f"{path} is no safetensors file, or has a header of more than {MAX_HEADER_BYTES:,} bytes")
    try:
        with safe_open(path, "numpy") as checked:
            metadata = dict(checked.metadata() or {})
        header = json.loads(file.read(length))
        header.pop("__metadata__", None)
    except (SafetensorError, ValueError, TypeError, AttributeError, OSError, RecursionError) as error:
        reason = (str(error).strip().splitlines() or ["no further word"])[0][:300]
        raise CorruptCheckpointError(f"{path} is not a readable safetensors file: {reason}") from error
    problems: list[str] = []
    arrays: dict[str, StoredArray] = {}
    # Where the arrays lie is the order in which they were written; the header's own order may be any.
    for name, entry in sorted(header.items(), key=lambda item: tuple(item[1]["data_offsets"])):
        dtype, shape = DTYPES.get(entry["dtype"]), tuple(entry["shape"])
        if dtype is None:
            problems.append(f"{short(name)} is a tensor of {entry['dtype']} that NumPy cannot hold")
        elif exceeds_numpy(shape):
            problems.append(f"{short(name)} claims axes that no file has")
        else:
            strides = tuple(dtype.itemsize * entries(shape[k + 1 :]) for k in range(len(shape)))
            arrays[name] = StoredArray(dtype, shape, strides, 8 + length + entry["data_offsets"][0])
    if problems:
        raise NotAStateDictError(f"{path} holds more than plain arrays: {listed(problems)}")
    check_claim(path, arrays, file_size(file))
    return TensorMap(arrays, metadata)
