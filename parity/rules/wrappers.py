"""Finds the arrays of a state inside the dictionaries around them, and the prefix that all of its keys share."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np

from parity.containers import MappedState
from parity.containers.checkpoint import State, to_numpy
from parity.errors import AmbiguousRulesError, MissingKeysError, UnexpectedKeysError, UnsupportedDtypeError

PREFIXES = ("module.", "_orig_mod.", "model.")
"""The prefixes that DataParallel, torch.compile and, most often, a Lightning module put before every key."""


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


def find_prefix(keys: Mapping[str, Any]) -> str:
    """Return what DataParallel and the like put before every key, such as "module.", or ""."""
    prefix = ""
    while match := [p for p in PREFIXES if keys and all(key.startswith(prefix + p) for key in keys)]:
        prefix += match[0]
    return prefix


def without_prefix(state: Mapping[str, Any]) -> Mapping[str, Any]:
    """Remove from every key the prefix that DataParallel and the like put before it."""
    prefix = find_prefix(state)
    if not prefix:
        return state
    if isinstance(state, MappedState):
        return state.without_prefix(prefix)
    return {key.removeprefix(prefix): value for key, value in state.items()}


def own_prefix(prefix: str, keys: Collection[str]) -> str:
    """Return the end of a table's prefix that the module's own keys start with: "module.model.", "model." or ""."""
    while prefix and not all(key.startswith(prefix) for key in keys):
        prefix = prefix.partition(".")[2]
    return prefix


def unwrap(state: Mapping[str, Any], wrapper: tuple[str, ...], prefix: str) -> State:
    """Return the arrays inside the wrapper by their keys without the prefix; a state from `load` has no wrapper.

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
    other = [key for key in inner if not key.startswith(prefix)]
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
