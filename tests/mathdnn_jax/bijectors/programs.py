"""The primitives of a function's program."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import jax


def primitives(function: Callable[..., object], *arguments: object) -> set[str]:
    """The names of all operations in the function's program, including those of its inner programs."""
    return set(_names(jax.make_jaxpr(function)(*arguments).jaxpr))


def _names(program: Any) -> Iterator[str]:
    for equation in program.eqns:
        yield equation.primitive.name
        for value in equation.params.values():
            for inner in value if isinstance(value, (tuple, list)) else (value,):
                if hasattr(inner, "jaxpr"):
                    yield from _names(inner.jaxpr)
                elif hasattr(inner, "eqns"):
                    yield from _names(inner)
