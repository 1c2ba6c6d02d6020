"""Finding the arrays of a state in the dictionaries around it, and the prefix that all its keys have."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from parity.containers import MappedState
from parity.containers.checkpoint import State, to_numpy
from parity.errors import AmbiguousRulesError, MissingKeysError, UnexpectedKeysError, UnsupportedDtypeError

PREFIXES = ("module.", "_orig_mod.", "model.")
"""What DataParallel, torch.compile, and most often a Lightning module put before every key."""


def find_wrapper(state: Mapping[str, Any]) -> tuple[str, ...]:
    """The names of the dictionaries around the arrays, outermost first; () where the state is flat.

    Raises:
        AmbiguousRulesError: there are several dictionaries of arrays, such as a model's and its moving average.
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
    """What DataParallel and the like put before every key, such as "module.", or nothing."""
    prefix = ""
    while match := [p for p in PREFIXES if keys and all(key.startswith(prefix + p) for key in keys)]:
        prefix += match[0]
    return prefix


def without_prefix(state: Mapping[str, Any]) -> Mapping[str, Any]:
    """The arrays under their keys without what DataParallel and the like put before every one."""
    prefix = find_prefix(state)
    if not prefix:
        return state
    if isinstance(state, MappedState):
        return state.without_prefix(prefix)
    return {key.removeprefix(prefix): value for key, value in state.items()}


def own_prefix(prefix: str, keys: Collection[str]) -> str:
    """What of a table's prefix a module's own keys have: all of "module.model.", its last part, or nothing."""
    while prefix and not all(key.startswith(prefix) for key in keys):
        prefix = prefix.partition(".")[2]
    return prefix


def unwrap(state: Mapping[str, Any], wrapper: tuple[str, ...], prefix: str) -> State:
    """The arrays inside, under their keys without the prefix; of a flat state, which `load` gives, its own.

    Raises:
        MissingKeysError: there is no such dictionary, or a key has not the prefix.
        UnexpectedKeysError: a key is no string.
        UnsupportedDtypeError: an entry is no dense array.
    """
    inner: Any = state
    flat = bool(wrapper) and wrapper[0] not in state and all(hasattr(value, "shape") for value in state.values())
    for name in () if flat else wrapper:
        if not isinstance(inner, Mapping) or not isinstance(inner.get(name), Mapping):
            raise MissingKeysError(f"the rule table expects the arrays inside {'/'.join(wrapper)}, which is not there")
        inner = inner[name]
    wrong = [key for key in inner if not isinstance(key, str)]
    if wrong:
        raise UnexpectedKeysError(f"a state dict's keys are strings, given {wrong}")
    other = [key for key in inner if not key.startswith(prefix)]
    if other:
        raise MissingKeysError(f"the rule table expects keys that begin with {prefix!r}, given {', '.join(other)}")
    arrays, problems = {}, []
    for name, value in inner.items():
        try:
            arrays[name.removeprefix(prefix)] = _dense(value)
        except (TypeError, RuntimeError, NotImplementedError, ValueError) as error:
            problems.append(f"{name}: {str(error).splitlines()[0]}")
    if problems:
        raise UnsupportedDtypeError(f"these are no dense arrays that NumPy can hold: {'; '.join(problems)}")
    return arrays


def wrap(arrays: State, wrapper: tuple[str, ...], prefix: str) -> dict[str, Any]:
    """The inverse of `unwrap`."""
    state: dict[str, Any] = {prefix + name: array for name, array in arrays.items()}
    for name in reversed(wrapper):
        state = {name: state}
    return state


def _dense(value: Any) -> Any:
    array = to_numpy(value)
    if array.dtype.kind in "OUSV" and str(array.dtype) != "bfloat16":
        raise TypeError(f"it is a {type(value).__name__}")
    return array


def _dictionaries(state: Mapping[str, Any], path: tuple[str, ...]) -> list[tuple[str, ...]]:
    found = [path] if any(hasattr(value, "shape") for value in state.values()) else []
    for name, value in state.items():
        # An optimiser keeps arrays by number; they are no state dict.
        if isinstance(value, Mapping) and isinstance(name, str) and all(isinstance(key, str) for key in value):
            found += _dictionaries(value, (*path, name))
    return found
