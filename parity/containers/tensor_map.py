"""The location of each tensor in a file, checked against the file's size before any of its bytes are read."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from parity.containers.budget import Budget
from parity.containers.objects import Foreign, Other, RefusedError, Storage, Tensor
from parity.containers.wrapped import Inside, Selection, candidates, choices, find_state
from parity.display import kind, listed, short
from parity.errors import CorruptCheckpointError, NotAStateDictError

SLACK = 2**20
"""Number of bytes that a file's tensors may claim in addition to twice its size."""
MAX_SPREAD = 1000
"""Number of times that the extents of strided tensors may cover the file."""
TENSOR_UNITS = 20
"""The units of work that it takes to locate a tensor and to read it, apart from its bytes."""
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

    @property
    def compact(self) -> bool:
        """Whether its entries lie in the file as in memory, without gaps."""
        expected = self.dtype.itemsize
        for n, step in zip(reversed(self.shape), reversed(self.strides), strict=True):
            if n != 1 and step != expected:
                return False
            expected *= n
        return True

    @property
    def nested(self) -> bool:
        """Whether each step along an axis leads beyond all that the axes with smaller steps cover."""
        covered = self.dtype.itemsize
        for step, n in sorted((step, n) for n, step in zip(self.shape, self.strides, strict=True) if n > 1 and step):
            if step < covered:
                return False
            covered = (n - 1) * step + covered
        return True


class TensorMap(NamedTuple):
    """The arrays of a file's state by name, in its order, its metadata, and which of its dictionaries was selected."""

    arrays: dict[str, StoredArray]
    metadata: dict[str, str]
    selection: Selection = Selection()


class Source(NamedTuple):
    """A file whose pickle was read.

    Attributes:
        path: The file, for messages.
        size: The size of the file in bytes.
        where: Returns the byte range of a storage, or raises KeyError if there is none.
        budget: What is left of the work that the file may take.
        order: The byte order of the numbers, "<" or ">".
        foreign: Names in the pickle that are neither tensors nor plain containers.
    """

    path: object
    size: int
    where: Callable[[Storage], ByteRange]
    budget: Budget
    order: str = "<"
    foreign: Sequence[str] = ()


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


def map_tensors(source: Source, content: Any, inside: Inside | None = None) -> TensorMap:
    """Locate each tensor of an unpickled state dict in its file. Tensors outside the state are not located.

    Args:
        source: The file.
        content: The unpickled content.
        inside: The dictionary of the content that is the state, as in `find_state`. What is beside a state that is
            named may be anything, since it is left out.

    Raises:
        RefusedError: The state, or anything in the file if `inside` is None, is more than tensors in plain containers.
        AmbiguousCheckpointError: Several dictionaries may be the state.
        NotAStateDictError: The pickle holds something else, or claims more than a file of this size can hold.
        CorruptCheckpointError: A tensor extends beyond its storage, or its storage is missing.
    """
    path, budget = source.path, source.budget
    if source.foreign and (inside is None or not isinstance(content, Mapping)):
        raise RefusedError(", ".join(source.foreign), _advice(content, budget))
    if not isinstance(content, Mapping):
        raise NotAStateDictError(
            f"{path} holds a {kind(content)}, expected a state dict: a mapping from names to tensors, "
            f"as written by torch.save(model.state_dict(), path)"
        )
    state, selection = find_state(path, content, inside, budget.pay)
    if foreign := [value.what for value in state.values() if isinstance(value, Foreign)]:
        raise RefusedError(listed(foreign, ", "))
    problems: list[str] = []
    arrays: dict[str, StoredArray] = {}
    for name, value in state.items():
        budget.pay(TENSOR_UNITS)
        problem = _problem(name, value, source.size)
        if problem:
            problems.append(problem)
        elif not problems:
            arrays[name] = _stored_array(source, name, value)
    if problems:
        raise NotAStateDictError(
            f"{path} is not a flat state dict of dense tensors: {listed(problems)}. "
            f"If the weights are one of these entries, select it with inside=, or save only that entry"
        )
    check_claim(path, arrays, source.size)
    return TensorMap(arrays, {}, selection)


def _advice(content: Any, budget: Budget) -> str:
    """What else can be done about a file with foreign names."""
    found = candidates(content, budget.pay) if isinstance(content, Mapping) else {}
    if not found:
        return ""
    return f"Or read one of its dictionaries alone, without the rest, with inside=: {choices(found)}"


def check_claim(path: object, arrays: Mapping[str, StoredArray], size: int) -> None:
    """Check that all arrays together are not much larger than the file, even if they share bytes.

    Raises:
        NotAStateDictError: They are more than twice as large as the file, or lie so far apart that reading them takes
            very much longer than reading the file.
    """
    claimed = sum(array.size * array.dtype.itemsize for array in arrays.values())
    # An array whose entries are not in any order is read with all that lies between them.
    beside = max((array.extent for array in arrays.values() if not array.nested), default=0)
    if claimed + beside > 2 * size + SLACK:
        raise NotAStateDictError(
            f"{path} has {size:,} bytes, but its {len(arrays):,} tensors claim {claimed + beside:,}, since many share "
            f"the same bytes; the limit is twice the file: save tied weights once, or each with its own bytes "
            f"(.clone())"
        )
    if sum(array.extent for array in arrays.values()) > MAX_SPREAD * (size + SLACK):
        raise NotAStateDictError(
            f"{path} has {size:,} bytes, over which each of its {len(arrays):,} tensors is spread so widely that all "
            f"would be read more than {MAX_SPREAD:,} times: save each with its own bytes (.clone())"
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


def _stored_array(source: Source, name: str, tensor: Tensor) -> StoredArray:
    dtype = tensor.dtype
    assert isinstance(dtype, np.dtype)
    try:
        start, stored_bytes = source.where(tensor.storage)
    except KeyError as error:
        raise CorruptCheckpointError(
            f"{source.path} is damaged: the storage of {short(name)} is missing; obtain it again"
        ) from error
    first = tensor.offset * dtype.itemsize
    strides = tuple(step * dtype.itemsize for step in tensor.strides)
    stored_dtype = dtype if source.order == "<" else dtype.newbyteorder(">")
    array = StoredArray(stored_dtype, tensor.shape, strides, start + first)
    if first + array.extent > stored_bytes:
        raise CorruptCheckpointError(
            f"{source.path} is damaged: {short(name)} extends beyond its storage of {stored_bytes:,} bytes; obtain it "
            f"again"
        )
    return array
