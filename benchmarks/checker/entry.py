"""One map of the zoo."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple


class Entry(NamedTuple):
    """A map to check.

    - `name`: how a reader knows it;
    - `make`: returns (forward, inverse), inverse perhaps None; the library it is of is imported inside;
    - `options`: of `check_bijector`, beyond the defaults;
    - `catch`: the checks of which one must fail, for a map that is wrong on purpose; empty for a right one;
    - `known`: what is wrong with a map that its library means to be right, as was found out; None for a right one.
    """

    name: str
    make: Callable[[], tuple[Any, Any]]
    options: dict[str, Any]
    catch: tuple[str, ...] = ()
    known: str | None = None
