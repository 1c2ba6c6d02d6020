"""The location of each tensor in a file, checked against the file's size before any of its bytes are read."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from parity.containers.objects import Other, Storage, Tensor
from parity.containers.wrapped import Inside, Selection, find_state, kind, listed, short
from parity.errors import CorruptCheckpointError, NotAStateDictError

SLACK = 2**20
"""Number of bytes that a file's tensors may claim in addition to twice its size."""
MAX_AXES = 32
MAX_ENTRIES = 2**56
"""Far beyond any real axis, stride or number of entries, so that all of them fit into 64 bits when counted in bytes."""

ByteRange = tuple[int, int]
"""The first byte of a storage in the file, and its number of bytes."""


class StoredArray(NamedTuple):
    """An array in a file: its first entry is at byte `offset`, and `strides` (in bytes) lead to the others."""

    dtype: np.dtype
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int

    @property
    def size(self) -> int:
        """Number of entries."""
        return entries(self.shape)

    @property
    def extent(self) -> int:
        """Number of bytes from its first entry to the end of its last."""
        if not self.size:
            return 0
        return sum((n - 1) * step for n, step in zip(self.shape, self.strides, strict=True)) + self.dtype.itemsize


class TensorMap(NamedTuple):
    """The arrays of a file's state by name, in its order, its metadata, and which of its dictionaries was selected."""

    arrays: dict[str, StoredArray]
    metadata: dict[str, str]
    selection: Selection = Selection()


def entries(shape: tuple[int, ...]) -> int:
    """The number of entries of an array of this shape, without integer overflow."""
    count = 1
    for n in shape:
        count *= n
    return count


def exceeds_numpy(shape: tuple[int, ...]) -> bool:
    """Whether a shape is beyond the limits of NumPy, even if one of its axes is empty."""
    return len(shape) > MAX_AXES or entries(tuple(max(n, 1) for n in shape)) >= MAX_ENTRIES


def file_size(file: BinaryIO) -> int:
    """The size of an open file in bytes."""
    return os.fstat(file.fileno()).st_size


def map_tensors(
    path: object,
    content: Any,
    where: Callable[[Storage], ByteRange],
    size: int,
    order: str = "<",
    inside: Inside | None = None,
) -> TensorMap:
    """Locate each tensor of an unpickled state dict in its file. Tensors outside the state are not located.

    Args:
        path: The file, for messages.
        content: The unpickled content.
        where: Returns the byte range of a storage, or raises KeyError if there is none.
        size: The size of the file in bytes.
        order: The byte order of the numbers, "<" or ">".
        inside: The dictionary of the content that is the state, as in `find_state`.

    Raises:
        AmbiguousCheckpointError: Several dictionaries may be the state.
        NotAStateDictError: The pickle holds something else, or claims more than a file of this size can hold.
        CorruptCheckpointError: A tensor extends beyond its storage, or its storage is missing.
    """
    if not isinstance(content, Mapping):
        raise NotAStateDictError(
            f"{path} holds a {kind(content)}, expected a state dict: a mapping from names to tensors, "
            f"as written by torch.save(model.state_dict(), path)"
        )
    state, selection = find_state(path, content, inside)
    problems: list[str] = []
    arrays: dict[str, StoredArray] = {}
    for name, value in state.items():
        problem = _problem(name, value, size)
        if problem:
            problems.append(problem)
        elif not problems:
            arrays[name] = _stored_array(path, name, value, where, order)
    if problems:
        raise NotAStateDictError(
            f"{path} is not a flat state dict of dense tensors: {listed(problems)}. "
            f"If the weights are one of these entries, select it with inside=, or save only that entry"
        )
    check_claim(path, arrays, size)
    return TensorMap(arrays, {}, selection)


def check_claim(path: object, arrays: Mapping[str, StoredArray], size: int) -> None:
    """Check that all arrays together are not much larger than the file, even if they share bytes.

    Raises:
        NotAStateDictError: They are more than twice as large as the file.
    """
    claimed = sum(array.size * array.dtype.itemsize for array in arrays.values())
    if claimed > 2 * size + SLACK:
        raise NotAStateDictError(
            f"{path} has {size:,} bytes, but its {len(arrays):,} tensors claim {claimed:,}, since many share the same "
            f"bytes; the limit is twice the file: save tied weights once, or each with its own bytes (.clone())"
        )


def _problem(name: object, value: Any, size: int) -> str | None:
    if not isinstance(name, str):
        return f"key {short(name)} is not a string"
    if isinstance(value, Other) and value.tensor:
        return f"{short(name)} is not a dense, unquantised tensor ({value.what})"
    if not isinstance(value, Tensor):
        return f"{short(name)} is a {kind(value)}"
    if value.note:
        return f"{short(name)} is not a plain tensor ({value.note})"
    if not isinstance(value.dtype, np.dtype):
        return f"{short(name)} is a tensor of {value.dtype} that NumPy cannot hold"
    if len(value.shape) > MAX_AXES:
        return f"{short(name)} claims {len(value.shape):,} axes, more than {MAX_AXES}"
    # A tensor with strides of 0 can claim any shape over a few stored bytes.
    if (count := entries(value.shape)) * value.dtype.itemsize > size:
        return (
            f"{short(name)} claims {count:,} entries, more than the file holds"
            if count < 10**18
            else (f"{short(name)} claims more than 10^18 entries")
        )
    if exceeds_numpy(value.shape) or any(step >= MAX_ENTRIES for step in value.strides):
        return f"{short(name)} claims impossible axes or strides"
    return None


def _stored_array(
    path: object, name: str, tensor: Tensor, where: Callable[[Storage], ByteRange], order: str
) -> StoredArray:
    dtype = tensor.dtype
    assert isinstance(dtype, np.dtype)
    try:
        start, stored_bytes = where(tensor.storage)
    except KeyError as error:
        raise CorruptCheckpointError(
            f"{path} is damaged: the storage of {short(name)} is missing; obtain it again"
        ) from error
    first = tensor.offset * dtype.itemsize
    strides = tuple(step * dtype.itemsize for step in tensor.strides)
    stored_dtype = dtype if order == "<" else dtype.newbyteorder(">")
    array = StoredArray(stored_dtype, tensor.shape, strides, start + first)
    if first + array.extent > stored_bytes:
        raise CorruptCheckpointError(
            f"{path} is damaged: {short(name)} extends beyond its storage of {stored_bytes:,} bytes; obtain it again"
        )
    return array
