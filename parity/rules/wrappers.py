"""Finds the arrays of a state inside the dictionaries around them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np

from parity.containers.checkpoint import State, to_numpy
from parity.errors import AmbiguousRulesError, MissingKeysError, UnexpectedKeysError, UnsupportedDtypeError
from parity.rules.prefixes import expand


def find_wrapper(state: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names of the dictionaries around the arrays, outermost first; () if the state is flat.

    Raises:
        AmbiguousRulesError: several dictionaries hold arrays, such as a model's and those of its moving average.
        MissingKeysError: there are no arrays.
    """
    found = _dictionaries(state, ())
    if not found:
        raise MissingKeysError(f"there are no arrays in this state; it has {', '.join(map(repr, state)) or 'nothing'}")
    if len(found) > 1:
        names = ", ".join(repr("/".join(path)) for path in found)
        raise AmbiguousRulesError(f"several dictionaries here hold arrays, choose one as the state: {names}")
    return found[0]


def unwrap(state: Mapping[str, Any], wrapper: tuple[str, ...], prefix: str, ignored: Collection[str] = ()) -> State:
    """Return the arrays inside the wrapper by their keys without the prefix; a state from `load` has no wrapper.

    Keys that are `ignored` need not have the prefix, and then keep their names.

    Raises:
        MissingKeysError: there is no such dictionary, or a key does not begin with the prefix.
        UnexpectedKeysError: a key is not a string.
        UnsupportedDtypeError: an entry is not a dense array.
    """
    inner: Any = state
    flat = bool(wrapper) and wrapper[0] not in state and all(hasattr(value, "shape") for value in state.values())
    for name in () if flat else wrapper:
        if not isinstance(inner, Mapping) or not isinstance(inner.get(name), Mapping):
            raise MissingKeysError(f"the rule table expects the arrays inside {'/'.join(wrapper)}, which is not there")
        inner = inner[name]
    check_keys(inner)
    allowed = expand(ignored, inner)
    other = [key for key in inner if not key.startswith(prefix) and key not in allowed]
    if other:
        raise MissingKeysError(f"the rule table expects keys that begin with {prefix!r}, got {', '.join(other)}")
    return {name.removeprefix(prefix): array for name, array in dense_arrays(inner, _dense).items()}


def check_keys(state: Mapping[Any, Any]) -> None:
    """Raise UnexpectedKeysError unless all keys are strings."""
    wrong = [key for key in state if not isinstance(key, str)]
    if wrong:
        raise UnexpectedKeysError(f"the keys of a state dict are strings, got {wrong}")


def dense_arrays(state: Mapping[str, Any], read: Callable[[Any], np.ndarray] = to_numpy) -> State:
    """Return the entries of a state dict as NumPy arrays.

    Raises:
        UnsupportedDtypeError: there are entries that `read` cannot convert; all of them are named.
    """
    arrays, problems = {}, []
    for name, value in state.items():
        try:
            arrays[name] = read(value)
        except (TypeError, RuntimeError, NotImplementedError, ValueError) as error:
            problems.append(f"{name}: {str(error).splitlines()[0]}")
    if problems:
        raise UnsupportedDtypeError(f"these are not dense arrays that NumPy can hold: {'; '.join(problems)}")
    return arrays


def wrap(arrays: State, wrapper: tuple[str, ...], prefix: str) -> dict[str, Any]:
    """Invert `unwrap`."""
    state: dict[str, Any] = {prefix + name: array for name, array in arrays.items()}
    for name in reversed(wrapper):
        state = {name: state}
    return state


def _dense(value: Any) -> np.ndarray:
    array = to_numpy(value)
    if array.dtype.kind in "OUSV" and str(array.dtype) != "bfloat16":
        raise TypeError(f"it is a {type(value).__name__}")
    return array


def _dictionaries(state: Mapping[str, Any], path: tuple[str, ...]) -> list[tuple[str, ...]]:
    found = [path] if any(hasattr(value, "shape") for value in state.values()) else []
    for name, value in state.items():
        # An optimizer numbers its arrays; that is not a state dict.
        if isinstance(value, Mapping) and isinstance(name, str) and all(isinstance(key, str) for key in value):
            found += _dictionaries(value, (*path, name))
    return found
