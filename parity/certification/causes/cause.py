"""What a search for a likely cause tells, and what it tries."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from parity.certification.causes.tape import Call, Edit


class Cause(NamedTuple):
    """A convention in which JAX differs from PyTorch, with which alone the float64 runs agree where they departed.

    `convention` is a short name such as "gelu"; several that explain it equally well are joined by " or ".
    """

    convention: str
    text: str


class Change(NamedTuple):
    """PyTorch's network with something changed to another convention.

    `text` continues "JAX …". `edits` are by the numbers of calls, the other changes as in `Plan`. `rank` orders
    explanations that are equally good: a known convention is 0, a number that was solved for or a part that was left
    out 1 and more, an exchange of several calls 2. `kind` tells apart changes of one text that are not of one kind, and
    `values` are those of the `Number` that it came from.
    """

    convention: str
    text: str
    edits: Mapping[int, Edit]
    rank: int = 0
    kind: Hashable = ""
    inputs: Mapping[str, Callable[[Any], Any]] = {}
    outputs: Mapping[str, Callable[[Any], Any]] = {}
    skipped: frozenset[str] = frozenset()
    values: tuple[float, ...] = ()

    @property
    def key(self) -> Hashable:
        """Equal for the same change at another place."""
        return self.convention, self.text, self.kind


class Number(NamedTuple):
    """Some numbers, to be changed to one of the `known` choices, or solved for; `start` are PyTorch's.

    `make(*values)` is the network with these values.
    """

    start: tuple[float, ...]
    known: tuple[tuple[float, ...], ...]
    make: Callable[..., Change]

    def change(self, *values: float) -> Change:
        """Return the change to these values."""
        change: Change = self.make(*map(float, values))
        return change._replace(values=tuple(map(float, values)))


Alternatives = Callable[[Call, Sequence[Call]], Iterator[Change | Number]]
"""(a call, all calls of the run) → what else could be there."""


def number(
    convention: str,
    start: float,
    known: Sequence[float],
    edits: Callable[[float], Mapping[int, Edit]],
    text: Callable[[float], str],
    *,
    rank: int = 0,
    kind: Hashable = "",
) -> Number:
    """Return a single number of calls alone."""
    return Number(
        (start,),
        tuple((value,) for value in known),
        lambda value: Change(convention, text(value), edits(value), rank, kind),
    )


def replaced(edit: Callable[..., Any]) -> Edit:
    """Return an edit that computes edit(*args, **kwargs) instead of the function."""
    return lambda _, args, kwargs: edit(*args, **kwargs)


def after(edit: Callable[[Any], Any]) -> Edit:
    """Return an edit of the function's result."""
    return lambda function, args, kwargs: edit(function(*args, **kwargs))


def with_arguments(names: Sequence[str], **changes: Any) -> Edit:
    """Return an edit that calls the same function with some arguments changed; `names` are those by position."""

    def edit(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        values, rest = list(args), dict(kwargs)
        for name, value in changes.items():
            if name in names and names.index(name) < len(args):
                values[names.index(name)] = value
            else:
                rest[name] = value
        return function(*values, **rest)

    return edit
