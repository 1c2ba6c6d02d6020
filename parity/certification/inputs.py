"""The inputs of both networks: one array, several as a tuple for positional arguments, or a dict for keywords."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from mathdnn_jax.errors import ConfigurationError, EventShapeError
from parity.errors import AmbiguousLayoutError
from parity.nested import children, is_array, kind_of_dtype

NARROW = {"floating": np.float32, "complex": np.complex64}


class Slot(NamedTuple):
    """Where the array of this name stands among the arguments."""

    name: str


class Arguments(NamedTuple):
    """What a network is called with: its arguments, in which `Slot`s stand for the `arrays`.

    The name of the only argument is "", and those of several are their positions or keywords. What is not an array,
    such as None or `False`, stands among the arguments as it is.
    """

    positional: tuple[Any, ...]
    keywords: Mapping[str, Any]
    arrays: Mapping[str, np.ndarray]

    @property
    def events(self) -> int:
        """The number of events: the length of the first array that has axes."""
        return next(len(array) for array in self.arrays.values() if array.ndim)

    @property
    def shape(self) -> Any:
        """The shape of the only array, or {name: shape}."""
        shapes = {name: list(array.shape) for name, array in self.arrays.items()}
        return shapes.get("", shapes)

    @property
    def sha256(self) -> str:
        """The digest of the bytes of all arrays."""
        digest = hashlib.sha256()
        for array in self.arrays.values():
            digest.update(array.tobytes())
        return digest.hexdigest()

    def call(self, function: Callable[..., Any], arrays: Mapping[str, Any], *first: Any) -> Any:
        """Return function(*first, *arguments), with these arrays in the places of the own ones."""
        positional = (_filled(argument, arrays) for argument in self.positional)
        return function(*first, *positional, **{n: _filled(a, arrays) for n, a in self.keywords.items()})


def read_arguments(inputs: Any) -> Arguments:
    """Read the inputs that `certify` is given; floating-point numbers become float32, all others stay what they are.

    Raises:
        EventShapeError: there is no array, or one of them is empty.
        ConfigurationError: two arrays have the same name.
    """
    arrays: dict[str, np.ndarray] = {}
    if isinstance(inputs, tuple):
        found = Arguments(tuple(_emptied(value, str(k), arrays) for k, value in enumerate(inputs)), {}, arrays)
    elif isinstance(inputs, Mapping):
        found = Arguments((), {str(name): _emptied(value, str(name), arrays) for name, value in inputs.items()}, arrays)
    else:
        found = Arguments((_emptied(np.asarray(inputs), "", arrays),), {}, arrays)
    empty = [array.shape for array in arrays.values() if not array.size]
    if empty or not any(array.ndim for array in arrays.values()):
        given = f"an array of shape {empty[0]}" if empty else f"{_shapes(arrays)}"
        raise EventShapeError(f"certify needs a batch of at least one event, got {given}")
    return found


def in_torch_layout(arguments: Arguments) -> Arguments:
    """Return the arguments for PyTorch: images get their channels first, everything else is unchanged.

    Raises:
        AmbiguousLayoutError: an array of three axes may be signals or sequences.
    """
    for name, array in arguments.arrays.items():
        if array.ndim == 3 and kind_of_dtype(array.dtype) == "floating":
            raise AmbiguousLayoutError(
                f"inputs{f' {name!r}' if name else ''} of shape {array.shape} may be signals, which PyTorch takes with "
                f"the channels first, or sequences, which it takes as they are: give torch_inputs= too"
            )
    moved = {
        name: np.moveaxis(array, -1, 1) if array.ndim > 3 and array.dtype != np.bool_ else array
        for name, array in arguments.arrays.items()
    }
    return arguments._replace(arrays=moved)


def as_tensors(arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Return new tensors with PyTorch's own strides, on which a view depends, even on those of axes of length 1."""
    import torch

    return {name: torch.from_numpy(np.array(array, order="C", copy=True)) for name, array in arrays.items()}


def _emptied(value: Any, name: str, arrays: dict[str, np.ndarray]) -> Any:
    """Replace the arrays within an argument by slots, and note them.

    Raises:
        ConfigurationError: two arrays have the same name.
    """
    array = _numbers(value)
    if array is not None:
        if name in arrays:
            raise ConfigurationError(
                f"two arrays among the inputs are called {name!r}, so they cannot be told apart: let the keys of dicts "
                f"be texts without slashes"
            )
        arrays[name] = array
        return Slot(name)
    inner = children(value)
    if inner is None:
        return value
    made = {key: _emptied(child, f"{name}/{key}", arrays) for key, child in inner}
    if isinstance(value, Mapping):
        return {key: made[str(key)] for key in value}
    if isinstance(value, tuple | list) and not hasattr(value, "_fields"):
        return type(value)(made.values())
    return type(value)(**made)


def _numbers(value: Any) -> np.ndarray | None:
    """Return an array of numbers as NumPy has it, or None for anything else, such as a key of a random stream."""
    if not is_array(value):
        return None
    array = value.detach().cpu().float() if str(value.dtype) == "torch.bfloat16" else value
    array = np.asarray(array.detach().cpu()) if hasattr(array, "detach") else array
    kind = kind_of_dtype(array.dtype)
    return None if kind is None else np.array(array, NARROW.get(kind), order="C")


def _filled(argument: Any, arrays: Mapping[str, Any]) -> Any:
    if isinstance(argument, Slot):
        return arrays[argument.name]
    inner = children(argument)
    if inner is None:
        return argument
    made = {key: _filled(child, arrays) for key, child in inner}
    if isinstance(argument, Mapping):
        return {key: made[str(key)] for key in argument}
    if isinstance(argument, tuple | list) and not hasattr(argument, "_fields"):
        return type(argument)(made.values())
    return type(argument)(**made)


def _shapes(arrays: Mapping[str, np.ndarray]) -> str:
    return ", ".join(f"an array of shape {array.shape}" for array in arrays.values()) or "no array"
