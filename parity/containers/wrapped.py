"""Finding the state dict among the nested dictionaries of a file, from descriptions alone, without reading arrays."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from parity.containers.objects import Other, Tensor
from parity.errors import AmbiguousCheckpointError, NotAStateDictError

MAX_DEPTH = 3
"""Maximum number of nested dictionaries around the state."""
MAX_LISTED = 10
"""Maximum number of entries that a message lists; the rest are only counted."""

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
        left = listed([f"{short(name)} ({what})" for name, what in self.left.items()], ", ")
        return f"the state is its {_slashed(self.path)}" + (f"; left out: {left}" if left else "")


def find_state(
    file: object, content: Mapping[Any, Any], inside: Inside | None = None
) -> tuple[Mapping[Any, Any], Selection]:
    """Find the state in an unpickled mapping, and describe what was left out.

    A candidate is a mapping from names to tensors only, at a depth of at most `MAX_DEPTH`. A mapping keyed by integers,
    as in the state of an optimiser, is not a candidate. The state is the only candidate, if there is no floating-point
    array beside it. If there is no candidate, the content itself is returned, for the caller to report the problem.

    Args:
        file: The file, for messages.
        content: The unpickled content.
        inside: The dictionary to select, by its key, several keys joined by "/", or a sequence of keys.

    Raises:
        AmbiguousCheckpointError: There are several candidates, or arrays beside the only one.
        NotAStateDictError: There is no dictionary called `inside`.
    """
    found = {} if _flat(content) else _candidates(content)
    if inside is not None:
        path = _named(content, inside)
        if path is None:
            raise NotAStateDictError(
                f"{file} has no dictionary {short(inside) if isinstance(inside, str) else _slashed(inside)} inside; "
                f"{_choices(found) or 'none in it has only tensors'}"
            )
    elif len(found) > 1:
        raise AmbiguousCheckpointError(
            f"{file} has several dictionaries of tensors, select one with inside=: {_choices(found)}"
        )
    else:
        path = next(iter(found), ())
        if beside := _arrays_beside(content, path):
            raise AmbiguousCheckpointError(
                f"{file} has {_choices(found)}, and beside it arrays that may be weights too: {listed(beside)}; if "
                f"they are not, select inside={'/'.join(path)!r}"
            )
    state = _at(content, path)
    return state, Selection(path, dict(_left(content, path, state)))


def listed(entries: Sequence[str], separator: str = "; ") -> str:
    """The first entries, and the number of further ones."""
    more = f"{separator}and {len(entries) - MAX_LISTED:,} more" if len(entries) > MAX_LISTED else ""
    return separator.join(entries[:MAX_LISTED]) + more


def short(name: object) -> str:
    """A key as shown in a message: a hostile key may be very long, or not have a usable text at all."""
    if isinstance(name, str):
        return repr(name if len(name) <= 80 else name[:77] + "...")
    return repr(name) if isinstance(name, int) and abs(name) < 2**63 else f"of type {type(name).__name__}"


def kind(value: object) -> str:
    """The name of the kind of a pickled value."""
    return value.what if isinstance(value, Other) else type(value).__name__


def _flat(content: Mapping[Any, Any]) -> bool:
    return all(isinstance(value, Tensor) or (isinstance(value, Other) and value.tensor) for value in content.values())


def _candidates(content: Mapping[Any, Any]) -> dict[Path, Mapping[Any, Any]]:
    """{path: mapping with only tensors}; each mapping once, since hostile ones may contain themselves or each other."""
    found: dict[Path, Mapping[Any, Any]] = {}
    seen: set[int] = set()
    level: list[tuple[Path, Mapping[Any, Any]]] = [((), content)]
    for _ in range(MAX_DEPTH + 1):
        below: list[tuple[Path, Mapping[Any, Any]]] = []
        for path, mapping in level:
            if id(mapping) in seen or not all(isinstance(name, str) for name in mapping):
                continue
            seen.add(id(mapping))
            if mapping and _flat(mapping):
                found[path] = mapping
            else:
                below += [((*path, name), value) for name, value in mapping.items() if isinstance(value, Mapping)]
        level = below
    return found


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


def _arrays_beside(content: Mapping[Any, Any], path: Path) -> list[str]:
    return [
        f"{_slashed(other)} {value.shape[:4]}"
        for other, value in _around(content, path)
        if isinstance(value, Tensor) and value.shape and _floating(value.dtype)
    ]


def _floating(dtype: np.dtype | str) -> bool:
    # bfloat16 and other ml_dtypes are of NumPy's kind V.
    return isinstance(dtype, str) or dtype.kind in "fcV"


def _left(content: Mapping[Any, Any], path: Path, state: Mapping[Any, Any]) -> Iterable[tuple[str, str]]:
    for other, value in _around(content, path):
        yield "/".join(map(str, other)), "the same again" if value is state else _what(value)


def _what(value: Any) -> str:
    if isinstance(value, Tensor):
        return "a tensor"
    if isinstance(value, dict | list | tuple):
        return f"a {type(value).__name__} of {len(value):,} entries"
    if value is None or (isinstance(value, bool | int | float) and abs(value) < 1e15):
        return repr(value)
    return f"a {kind(value)}"


def _choices(found: Mapping[Path, Mapping[Any, Any]]) -> str:
    return listed([f"{_slashed(path)} ({len(mapping):,} tensors)" for path, mapping in found.items()], ", ")


def _slashed(path: Sequence[object]) -> str:
    return short("/".join(map(str, path)))
