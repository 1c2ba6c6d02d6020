"""Plain descriptions of everything that a pickled state dict may name. No PyTorch class is created or needed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np

Pay = Callable[[int], None]
"""Takes units of work from the budget of the file."""


class BadPickleError(Exception):
    """The bytes are not a pickled state dict. The reader of the container adds the name of the file."""


class RefusedError(BadPickleError):
    """The pickle asks for things that are not on the list; `args[0]` has their names."""


class StorageType(NamedTuple):
    """A type of storage: the dtype of its numbers, or the name of a dtype that NumPy lacks."""

    dtype: np.dtype | str


class Storage(NamedTuple):
    """A storage of `length` numbers under `key`; a view of it has `within` numbers from `first` on."""

    dtype: np.dtype | str
    key: str | int
    length: int
    first: int = 0
    within: int | None = None


class Dtype(NamedTuple):
    """A dtype on its own."""

    dtype: np.dtype | str


class Tensor(NamedTuple):
    """A dense tensor: a view of a storage, with offset and strides in entries."""

    storage: Storage
    dtype: np.dtype | str
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    note: str = ""


class Other(NamedTuple):
    """Something harmless that is not a dense tensor; only its name is kept."""

    what: str
    tensor: bool = False


class Foreign(Other):
    """Something that is not on the list. It stays a name, whatever a pickle does with it: nothing is run."""

    __slots__ = ()


class OpaqueKey:
    """A key of a mapping that is neither a name nor a small integer, and might take very long to hash or to show."""

    __slots__ = ("what",)

    def __init__(self, what: str) -> None:
        self.what = what


class Function(NamedTuple):
    """A name that a pickle may call; `CALLS` defines the effect."""

    name: str


NUMBERS: dict[str, np.dtype] = {
    "Float": np.dtype(np.float32),
    "Double": np.dtype(np.float64),
    "Half": np.dtype(np.float16),
    "BFloat16": np.dtype(ml_dtypes.bfloat16),
    "Long": np.dtype(np.int64),
    "Int": np.dtype(np.int32),
    "Short": np.dtype(np.int16),
    "Char": np.dtype(np.int8),
    "Byte": np.dtype(np.uint8),
    "Bool": np.dtype(np.bool_),
    "ComplexFloat": np.dtype(np.complex64),
    "ComplexDouble": np.dtype(np.complex128),
}
"""The dtypes of PyTorch's storages, by the first part of names such as `torch.FloatStorage`."""
QUANTISED = ("QInt8", "QUInt8", "QInt32", "QUInt4x2", "QUInt2x4")
DTYPES = (
    "float32", "float64", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "uint16", "uint32",
    "uint64", "bool", "complex64", "complex128", "complex32", "float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz",
    "float8_e5m2fnuz", "float8_e8m0fnu", "float4_e2m1fn_x2", "qint8", "quint8", "qint32", "quint4x2", "quint2x4",
)  # fmt: skip
OTHER_TENSORS = (
    "torch._utils._rebuild_qtensor",
    "torch._utils._rebuild_sparse_tensor",
    "torch._utils._rebuild_meta_tensor_no_storage",
    "torch._utils._rebuild_nested_tensor",
    "torch._utils._rebuild_wrapper_subclass",
    "torch._utils._rebuild_device_tensor_from_numpy",
    "torch._utils._rebuild_device_tensor_from_cpu_tensor",
    "torch._tensor._rebuild_from_type_v2",
)
OTHERS = (
    "torch.Tensor",
    "torch.device",
    "torch.per_tensor_affine",
    "torch.per_tensor_symmetric",
    "torch.per_channel_affine",
    "torch.per_channel_symmetric",
    "torch.per_channel_affine_float_qparams",
    "torch.serialization._get_layout",
    "collections.Counter",
    "builtins.set",
    "builtins.frozenset",
    "builtins.bytearray",
    "builtins.complex",
    "__builtin__.set",
    "__builtin__.frozenset",
    "__builtin__.bytearray",
    "__builtin__.complex",
    "_codecs.encode",
)


def look_up(full_name: str) -> Any:
    """Look up a dotted name of a pickle in a fixed list of descriptions; what is not on it becomes a `Foreign`."""
    found = NAMES.get(full_name)
    return Foreign(full_name[:100]) if found is None else found


def call(function: Any, arguments: Any, pay: Pay) -> Any:
    """The result of a pickle's call of a name on the list. The call of anything harmless, or foreign, is that itself.

    Raises:
        BadPickleError: It is not called as PyTorch would call it.
    """
    if isinstance(function, Other):
        return function
    if type(arguments) is not tuple:
        raise BadPickleError("a call without a tuple of arguments")
    if not isinstance(function, Function):
        raise BadPickleError(f"a call of a {type(function).__name__}")
    pay(len(arguments))
    return CALLS[function.name](pay, *arguments)


def whole_number(value: Any) -> int:
    """Check that a value is an integer of at least 0.

    Raises:
        BadPickleError: It is anything else.
    """
    if type(value) is not int or value < 0:
        raise BadPickleError("a size, stride or offset that is not an integer of at least 0")
    return value


def _storage_of(value: Any) -> Storage:
    if type(value) is not Storage:
        raise BadPickleError("a tensor without a storage")
    return value


def _whole_numbers(values: Any, pay: Pay) -> tuple[int, ...]:
    if type(values) is not tuple:
        raise BadPickleError("a shape or strides that are not a tuple")
    pay(len(values))
    return tuple(whole_number(value) for value in values)


def _tensor(pay: Pay, storage: Any, offset: Any, shape: Any, strides: Any, *rest: Any) -> Tensor:
    metadata = rest[2] if len(rest) > 2 else None
    note = "a conjugate or negative view" if metadata else ""
    return _checked(
        Tensor(
            _storage_of(storage),
            storage.dtype,
            whole_number(offset),
            _whole_numbers(shape, pay),
            _whole_numbers(strides, pay),
            note,
        )
    )


def _tensor_of_dtype(
    pay: Pay,
    storage: Any,
    offset: Any,
    shape: Any,
    strides: Any,
    grad: Any,
    hooks: Any,
    dtype: Any,
    metadata: Any = None,
) -> Tensor:
    if type(dtype) is not Dtype:
        raise BadPickleError("a tensor without a dtype")
    tensor = _tensor(pay, storage, offset, shape, strides, grad, hooks, metadata)
    return tensor._replace(dtype=dtype.dtype)


def _checked(tensor: Tensor) -> Tensor:
    if len(tensor.shape) != len(tensor.strides):
        raise BadPickleError("a tensor with different numbers of strides and axes")
    return tensor


def _parameter(_pay: Pay, data: Any, *_: Any) -> Any:
    if not isinstance(data, Tensor | Other):
        raise BadPickleError("a parameter without a tensor")
    return data


def _ordered(pay: Pay, *arguments: Any) -> Any:
    pairs = arguments[0] if arguments else ()
    if isinstance(pairs, Other):
        return Other("OrderedDict")
    if type(pairs) not in (list, tuple):
        raise BadPickleError("an ordered mapping that does not consist of pairs")
    pay(ENTRY_UNITS * len(pairs))
    result: dict[Any, Any] = {}
    for pair in pairs:
        if type(pair) not in (list, tuple) or len(pair) != 2:
            raise BadPickleError("an ordered mapping that does not consist of pairs")
        result[key_of(pair[0])] = pair[1]
    return result


def key_of(value: Any) -> str | int | OpaqueKey:
    """A key of a mapping. Only names and small integers are kept: others may take very long to hash."""
    if type(value) is str or (type(value) is int and abs(value) < 2**31):
        return value
    return OpaqueKey(value.what if isinstance(value, Other) else type(value).__name__)


def _size(pay: Pay, *arguments: Any) -> tuple[int, ...]:
    sizes = arguments[0] if arguments else ()
    if type(sizes) not in (list, tuple):
        raise BadPickleError("a size that is not a sequence")
    pay(len(sizes))
    return _whole_numbers(tuple(sizes), pay)


ENTRY_UNITS = 4
"""The units of work that an entry of a mapping takes."""
CALLS: dict[str, Callable[..., Any]] = {
    "collections.OrderedDict": _ordered,
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor_v3": _tensor_of_dtype,
    "torch._utils._rebuild_parameter": _parameter,
    "torch._utils._rebuild_parameter_with_state": _parameter,
    "torch.nn.parameter.Parameter": _parameter,
    "torch.Size": _size,
}

_HELD = {str(dtype) for dtype in NUMBERS.values()} | {"uint16", "uint32", "uint64"}
NAMES: dict[str, Any] = {
    **{name: Function(name) for name in CALLS},
    **{name: Other(name.rpartition(".")[2], tensor=True) for name in OTHER_TENSORS},
    **{name: Other(name.rpartition(".")[2]) for name in OTHERS},
    **{f"torch.{name}": Dtype(np.dtype(name) if name in _HELD else f"torch.{name}") for name in DTYPES},
    **{f"torch.{name}Storage": StorageType(dtype) for name, dtype in NUMBERS.items()},
    **{f"torch.{name}Storage": StorageType(f"torch.{name.lower()}") for name in QUANTISED},
    "torch.storage.UntypedStorage": StorageType(np.dtype(np.uint8)),
}
"""Every name that a pickle may mention, with its description. All descriptions are defined in this file."""
