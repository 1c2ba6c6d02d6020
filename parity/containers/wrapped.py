"""Finding the state dict among the nested dictionaries of a file, from descriptions alone, without reading arrays."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from parity.containers.objects import Foreign, Other, Pay, Tensor
from parity.display import joined, kind, listed, short, slashed
from parity.errors import AmbiguousCheckpointError, NotAStateDictError

MAX_DEPTH = 3
"""Maximum number of nested dictionaries around the state."""
EXTRA_STATE = "_extra_state"
"""The last part of the keys under which PyTorch's modules store more than tensors, and most often None."""
WALK_UNITS = 4
"""The units of work that looking at an entry takes."""

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

    A candidate is a mapping from names to tensors only, at a depth of at most `MAX_DEPTH`. A mapping keyed by integers,
    as in the state of an optimiser, is not a candidate. The state is the only candidate, if there is no floating-point
    array beside it. If there is no candidate, the content itself is returned, for the caller to report the problem.
    An entry `…_extra_state` that is None holds nothing, and is left out.

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
        if beside := listed(_arrays_beside(content, path)):
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
                below += [((*path, name), value) for name, value in mapping.items() if isinstance(value, Mapping)]
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


def _arrays_beside(content: Mapping[Any, Any], path: Path) -> Iterable[str]:
    return (
        f"{slashed(other)} {value.shape[:4]}"
        for other, value in _around(content, path)
        if isinstance(value, Tensor) and value.shape and _floating(value.dtype)
    )


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
