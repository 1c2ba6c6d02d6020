"""Finding the state dict among the nested dictionaries of a file, from descriptions alone, without reading arrays."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from parity.containers.objects import Foreign, Other, Pay, Tensor
from parity.display import cut, joined, kind, listed, short, slashed
from parity.errors import AmbiguousCheckpointError, NotAStateDictError

MAX_DEPTH = 3
"""Maximum number of nested dictionaries around the state."""
EXTRA_STATE = "_extra_state"
"""The last part of the keys under which PyTorch's modules store more than tensors, and most often None."""
WALK_UNITS = 4
"""The units of work that looking at an entry takes."""
CONTAINERS = (dict, list, tuple)
"""The types of everything in an unpickled content that has entries."""
OPTIMISERS = ("optimizer", "optimiser")
"""What the names of entries with an optimiser's state have in them, in lower case."""

Path = tuple[str, ...]
Inside = str | Sequence[str]


class Selection(NamedTuple):
    """Which dictionary of a file was read as its state: `path`, outermost first; () is the file's top level.

    `left` describes every entry around it that was left out: {"epoch": "3", "optimizer": "a dict of 2 entries"}.
    """

    path: Path = ()
    left: Mapping[str, str] = {}

    def __str__(self) -> str:
        """The selection in words; empty for a flat file."""
        if not self.path:
            return ""
        left = listed((f"{short(name)} ({what})" for name, what in self.left.items()), ", ")
        return f"the state is its {slashed(self.path)}" + (f"; left out: {left}" if left else "")


def find_state(
    file: object, content: Mapping[Any, Any], inside: Inside | None, pay: Pay
) -> tuple[Mapping[Any, Any], Selection]:
    """Find the state in an unpickled mapping, and describe what was left out.

    A candidate is a mapping from names to tensors only, at a depth of at most `MAX_DEPTH`. A mapping keyed by integers
    is not a candidate, nor is anything in the `state` that an optimiser has beside its `param_groups`. The state is the
    only candidate, if there is no floating-point array beside it, at any depth: what is no candidate may still be the
    model, such as a dictionary with a number among its tensors. What an optimiser keeps for each parameter does not
    count. If there is no candidate, the content itself is returned, for the caller to report the problem. An entry
    `…_extra_state` that is None holds nothing, and is left out.

    Args:
        file: The file, for messages.
        content: The unpickled content.
        inside: The dictionary to select, by its key, several keys joined by "/", or a sequence of keys.
        pay: Takes units of work from the budget of the file.

    Raises:
        AmbiguousCheckpointError: There are several candidates, or arrays beside the only one.
        NotAStateDictError: There is no dictionary called `inside`.
    """
    found = candidates(content, pay)
    if inside is not None:
        path = _named(content, inside)
        if path is None:
            raise NotAStateDictError(
                f"{file} has no dictionary {short(inside) if isinstance(inside, str) else slashed(inside)} inside; "
                f"{choices(found) or 'none in it has only tensors'}"
            )
    elif len(found) > 1:
        raise AmbiguousCheckpointError(
            f"{file} has several dictionaries of tensors, select one with inside=: {choices(found)}"
        )
    else:
        path = next(iter(found), ())
        if beside := listed(_arrays_beside(content, path, pay)):
            raise AmbiguousCheckpointError(
                f"{file} has {choices(found)}, and beside it arrays that may be weights too: {beside}; if they are "
                f"not, select inside={slashed(path)}"
            )
    state = _at(content, path)
    kept = {name: value for name, value in state.items() if not _absent(name, value)}
    left = dict(_left(content, path, state, pay))
    left |= {joined((*path, name)): "None" for name, value in state.items() if _absent(name, value)}
    return kept, Selection(path, left)


def candidates(content: Mapping[Any, Any], pay: Pay) -> dict[Path, Mapping[Any, Any]]:
    """{path: mapping with only tensors}, below the top level if that is none itself.

    Each mapping is looked at once, since hostile ones may contain themselves or each other.
    """
    pay(WALK_UNITS * len(content))
    if _flat(content):
        return {}
    found: dict[Path, Mapping[Any, Any]] = {}
    seen: set[int] = set()
    level: list[tuple[Path, Mapping[Any, Any]]] = [((), content)]
    for _ in range(MAX_DEPTH + 1):
        below: list[tuple[Path, Mapping[Any, Any]]] = []
        for path, mapping in level:
            if id(mapping) in seen or not all(isinstance(name, str) for name in mapping):
                continue
            seen.add(id(mapping))
            pay(WALK_UNITS * len(mapping))
            if any(not _absent(*entry) for entry in mapping.items()) and _flat(mapping):
                found[path] = mapping
            else:
                below += [
                    ((*path, name), value)
                    for name, value in mapping.items()
                    if isinstance(value, Mapping) and not _is_optimiser_state(name, mapping)
                ]
        level = below
    return found


def choices(found: Mapping[Path, Mapping[Any, Any]]) -> str:
    """The candidates as a message lists them."""
    return listed((f"{slashed(path)} ({len(mapping):,} tensors)" for path, mapping in found.items()), ", ")


def _flat(content: Mapping[Any, Any]) -> bool:
    return all(
        isinstance(value, Tensor) or (isinstance(value, Other) and value.tensor) or _absent(name, value)
        for name, value in content.items()
    )


def _absent(name: object, value: object) -> bool:
    return value is None and isinstance(name, str) and name.rpartition(".")[2] == EXTRA_STATE


def _named(content: Mapping[Any, Any], inside: Inside) -> Path | None:
    """The path that `inside` refers to, if there is a dictionary."""
    ways = [(inside,), tuple(inside.split("/"))] if isinstance(inside, str) else [tuple(inside)]
    for path in ways:
        if path and isinstance(_at(content, path), Mapping):
            return path
    return None


def _at(content: Any, path: Path) -> Any:
    for name in path:
        content = content.get(name) if isinstance(content, Mapping) else None
    return content


def _around(content: Mapping[Any, Any], path: Path) -> Iterable[tuple[Path, Any]]:
    """(path, value) of every entry around the state."""
    for depth, taken in enumerate(path):
        for name, value in _at(content, path[:depth]).items():
            if name != taken:
                yield (*path[:depth], name), value


def _arrays_beside(content: Mapping[Any, Any], path: Path, pay: Pay) -> Iterable[str]:
    """Every entry around the state that is, or has inside, arrays that may be weights."""
    # What holds the state is not beside it, and each container is searched once, since they may contain one another.
    searched = {(id(_at(content, path[:depth])), below) for depth in range(len(path) + 1) for below in (False, True)}
    for other, value in _around(content, path):
        pay(WALK_UNITS)
        if _of_parameters(_at(content, other[:-1]), other[-1], any(map(_names_optimiser, other)), pay):
            continue
        count = _weights_in(value, any(map(_names_optimiser, other)), searched, pay)
        if isinstance(value, Tensor) and count:
            yield f"{slashed(other)} {value.shape[:4]}"
        elif count:
            yield f"{slashed(other)} ({_what(value)}" + (
                f" with {count:,} arrays)" if type(value) in CONTAINERS else ")"
            )


def _weights_in(value: Any, below: bool, searched: set[tuple[int, bool]], pay: Pay) -> int:
    """The number of arrays that may be weights in a value, which may be `below` an entry named after an optimiser."""
    count, left = 0, [(value, below)]
    while left:
        pay(WALK_UNITS)
        value, below = left.pop()
        if _may_be_weights(value):
            count += 1
        elif type(value) in CONTAINERS and (id(value), below) not in searched:
            searched.add((id(value), below))
            # A list may be a history of very many numbers, each of which takes only a glance.
            pay(len(value) if type(value) is dict else len(value) // 2)
            left += _entries(value, below, pay)
    return count


def _entries(value: Any, below: bool, pay: Pay) -> Iterable[tuple[Any, bool]]:
    """The entries of a container in which weights may be, each with whether it is below an optimiser's name."""
    if type(value) is not dict:
        return ((inner, below) for inner in value if type(inner) in CONTAINERS or _may_be_weights(inner))
    return (
        (inner, below or _names_optimiser(name))
        for name, inner in value.items()
        if _may_be_weights(inner)
        or (type(inner) in CONTAINERS and not _of_parameters(value, name, below or _names_optimiser(name), pay))
    )


def _names_optimiser(name: object) -> bool:
    return isinstance(name, str) and any(word in cut(name).lower() for word in OPTIMISERS)


def _is_optimiser_state(name: Any, holder: Mapping[Any, Any]) -> bool:
    """Whether an entry is the state of one of PyTorch's optimisers, which has several arrays for each parameter."""
    return name == "state" and "param_groups" in holder and not _flat(holder[name])


def _of_parameters(holder: Mapping[Any, Any], name: Any, below: bool, pay: Pay) -> bool:
    """Whether an entry is what an optimiser keeps for each parameter, by the parameter's number or name.

    PyTorch's optimisers write it as the `state` beside their `param_groups`; in others' files an entry's name says so,
    and only numbers are taken to be parameters there.
    """
    value = holder[name]
    if not isinstance(value, Mapping):
        return False
    if _is_optimiser_state(name, holder):
        return True
    if not below:
        return False
    pay(len(value))
    return not any(isinstance(key, str) for key in value)


def _may_be_weights(value: Any) -> bool:
    if isinstance(value, Tensor):
        return bool(value.shape) and _floating(value.dtype)
    # Sparse and quantised tensors, of which neither axes nor numbers are known.
    return isinstance(value, Other) and value.tensor


def _floating(dtype: np.dtype | str) -> bool:
    # bfloat16 and other ml_dtypes are of NumPy's kind V.
    return isinstance(dtype, str) or dtype.kind in "fcV"


def _left(content: Mapping[Any, Any], path: Path, state: Mapping[Any, Any], pay: Pay) -> Iterable[tuple[str, str]]:
    for other, value in _around(content, path):
        pay(WALK_UNITS)
        yield joined(other), "the same again" if value is state else _what(value)


def _what(value: Any) -> str:
    if isinstance(value, Tensor):
        return "a tensor"
    if type(value) in (dict, list, tuple):
        return f"a {type(value).__name__} of {len(value):,} entries"
    if value is None or (isinstance(value, bool | int | float) and abs(value) < 1e15):
        return repr(value)
    return f"{short(value.what)}, skipped" if isinstance(value, Foreign) else f"a {kind(value)}"
