"""Where the tensors of a file lie, checked against the file before a byte of them is read."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from parity.containers.objects import Other, Storage, Tensor
from parity.containers.wrapped import Inside, Selection, find_state, kind, listed, short
from parity.errors import CorruptCheckpointError, NotAStateDictError

SLACK = 2**20
"""Bytes that a file's tensors may claim together beside twice its size."""
MAX_AXES = 32
MAX_ENTRIES = 2**56
"""What no axis, stride or count of entries comes near, so that all of them fit NumPy's 64 bits in bytes."""

ByteRange = tuple[int, int]
"""A storage's first byte in the file, and how many it has."""


class StoredArray(NamedTuple):
    """An array in a file: its first entry lies at byte `offset`, and `strides` (in bytes) lead to the others."""

    dtype: np.dtype
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int

    @property
    def size(self) -> int:
        """How many entries the array has."""
        return entries(self.shape)

    @property
    def extent(self) -> int:
        """How many bytes lie from its first entry to the end of its last."""
        if not self.size:
            return 0
        return sum((n - 1) * step for n, step in zip(self.shape, self.strides, strict=True)) + self.dtype.itemsize


class TensorMap(NamedTuple):
    """All arrays of a file's state, by name and in its order, the texts beside them, and what else the file holds."""

    arrays: dict[str, StoredArray]
    metadata: dict[str, str]
    selection: Selection = Selection()


def entries(shape: tuple[int, ...]) -> int:
    """The number of entries of an array of that shape, in whole numbers of any size."""
    count = 1
    for n in shape:
        count *= n
    return count


def exceeds_numpy(shape: tuple[int, ...]) -> bool:
    """Whether a shape is beyond NumPy, also if one of its axes is empty."""
    return len(shape) > MAX_AXES or entries(tuple(max(n, 1) for n in shape)) >= MAX_ENTRIES


def file_size(file: BinaryIO) -> int:
    """How many bytes an open file has."""
    return os.fstat(file.fileno()).st_size


def map_tensors(
    path: object,
    content: Any,
    where: Callable[[Storage], ByteRange],
    size: int,
    order: str = "<",
    inside: Inside | None = None,
) -> TensorMap:
    """Find each tensor of an unpickled state dict in its file; of tensors around it nothing is looked for.

    Args:
        path: the file, for messages.
        content: what the pickle holds.
        where: a storage's place in the file; raises KeyError if there is none.
        size: how many bytes the file has.
        order: the byte order of the numbers, "<" or ">".
        inside: which dictionary of the content is the state, as `find_state` takes it.

    Raises:
        AmbiguousCheckpointError: several dictionaries may be the state.
        NotAStateDictError: the pickle holds something else, or claims more than a file of that size can hold.
        CorruptCheckpointError: a tensor reaches beyond its storage, or its storage is missing.
    """
    if not isinstance(content, Mapping):
        raise NotAStateDictError(
            f"{path} holds a {kind(content)}, expected a state dict: a mapping from names to tensors, "
            f"as torch.save(model.state_dict(), path) writes it"
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
            f"If the weights are one of these entries, choose it by inside=, or save that entry alone"
        )
    check_claim(path, arrays, size)
    return TensorMap(arrays, {}, selection)


def check_claim(path: object, arrays: Mapping[str, StoredArray], size: int) -> None:
    """Check that all arrays together are not much more than the file, however often they share their bytes.

    Raises:
        NotAStateDictError: they are more than twice the file.
    """
    claimed = sum(array.size * array.dtype.itemsize for array in arrays.values())
    if claimed > 2 * size + SLACK:
        raise NotAStateDictError(
            f"{path} has {size:,} bytes, and its {len(arrays):,} tensors claim {claimed:,}, since many share the same "
            f"bytes; refused beyond twice the file: save tied weights once, or each with its own bytes (.clone())"
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
    # A tensor of strides 0 can claim any shape over a few stored bytes.
    if (count := entries(value.shape)) * value.dtype.itemsize > size:
        return (
            f"{short(name)} claims {count:,} entries, more than the file holds"
            if count < 10**18
            else (f"{short(name)} claims more than 10^18 entries")
        )
    if exceeds_numpy(value.shape) or any(step >= MAX_ENTRIES for step in value.strides):
        return f"{short(name)} claims axes or strides that no file has"
    return None


def _stored_array(path: object, name: str, tensor: Tensor, where: Callable[[Storage], ByteRange], order: str) -> StoredArray:
    dtype = tensor.dtype
    assert isinstance(dtype, np.dtype)
    try:
        start, stored = where(tensor.storage)
    except KeyError as error:
        raise CorruptCheckpointError(
            f"{path} lacks the storage of {short(name)}; it is damaged: obtain it again"
        ) from error
    first = tensor.offset * dtype.itemsize
    strides = tuple(step * dtype.itemsize for step in tensor.strides)
    stored_dtype = dtype if order == "<" else dtype.newbyteorder(">")
    stored = StoredArray(stored_dtype, tensor.shape, strides, start + first)
    if first + stored.extent > stored:
        raise CorruptCheckpointError(
            f"{path} is damaged: {short(name)} reaches beyond the {stored:,} bytes of its storage; obtain it again"
        )
    return stored
