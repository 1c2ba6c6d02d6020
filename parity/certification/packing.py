"""Nested values as one JSON document and a list of arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import ml_dtypes
import numpy as np

from mathdnn_jax.errors import ConfigurationError
from parity.certification.inputs import Slot
from parity.nested import Branch, Leaf

# NumPy's own format does not know this dtype, so its bits are written.
BFLOAT16 = np.dtype(ml_dtypes.bfloat16)


def pack(value: Any, arrays: list[np.ndarray]) -> Any:
    """Return what JSON can hold of a value; its arrays are appended to `arrays`, and are known by their index there.

    Raises:
        ConfigurationError: there is something else in it than arrays, plain values, and containers of them.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.ndarray):
        arrays.append(value.view(np.uint16) if value.dtype == BFLOAT16 else value)
        return {"array": len(arrays) - 1, "dtype": str(value.dtype)}
    if isinstance(value, Slot):
        return {"slot": value.name}
    if isinstance(value, Leaf):
        return {"leaf": [value.path, list(value.shape), value.kind]}
    if isinstance(value, Branch):
        children = [pack(child, arrays) for child in value.children]
        return {"branch": [value.path, value.what, value.names, value.ordered, children]}
    if isinstance(value, Mapping):
        return {"map": [[str(name), pack(child, arrays)] for name, child in value.items()]}
    if type(value) in (tuple, list):
        return {type(value).__name__: [pack(child, arrays) for child in value]}
    raise ConfigurationError(
        f"a recording holds arrays, plain values, and tuples, lists and dicts of them, got {type(value).__name__} "
        f"among the inputs: give the module these instead"
    )


def unpack(document: Any, arrays: Sequence[np.ndarray]) -> Any:
    """Return the value that `pack` was given.

    Raises:
        KeyError, IndexError, TypeError, ValueError: the document is not one that `pack` returns.
    """
    if not isinstance(document, dict):
        return document
    if "array" in document:
        array = arrays[document["array"]]
        return array.view(BFLOAT16) if document["dtype"] == str(BFLOAT16) else array
    ((kind, content),) = document.items()
    if kind == "slot":
        return Slot(content)
    if kind == "leaf":
        path, shape, numbers = content
        return Leaf(path, tuple(shape), numbers)
    if kind == "branch":
        path, what, names, ordered, children = content
        made = tuple(unpack(child, arrays) for child in children)
        return Branch(path, what, None if names is None else tuple(names), ordered, made)
    if kind == "map":
        return {name: unpack(child, arrays) for name, child in content}
    return {"tuple": tuple, "list": list}[kind](unpack(child, arrays) for child in content)
