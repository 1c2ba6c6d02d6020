"""Nested values, such as what a network returns: their arrays by path, and whether two of them are the same tree."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from parity.errors import OutputStructureError


class Leaf(NamedTuple):
    """An array, a number or None within a nested value: its path, such as `hidden/0`, its shape and its `kind`.

    The kind is "floating", "complex", "whole", "boolean" or "None".
    """

    path: str
    shape: tuple[int, ...]
    kind: str


class Branch(NamedTuple):
    """A container within a nested value: what it is called, and its children; `names` is None if they have only order.

    `ordered` says whether a child is also known by its position, as in a named tuple.
    """

    path: str
    what: str
    names: tuple[str, ...] | None
    ordered: bool
    children: tuple[Outline, ...]


Outline = Leaf | Branch
"""The tree of a nested value, without its numbers."""


def children(value: Any) -> list[tuple[str, Any]] | None:
    """Return [(name, child)] of a dict, named tuple, dataclass, tuple or list, or None if the value is a leaf."""
    if isinstance(value, Mapping):
        return [(str(name), child) for name, child in value.items()]
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return list(zip(value._fields, value, strict=True))
    if isinstance(value, tuple | list):
        return [(str(k), child) for k, child in enumerate(value)]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return [(field.name, getattr(value, field.name)) for field in dataclasses.fields(value)]
    return None


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (path, leaf) for all leaves of a nested value, from left to right; the path of a bare leaf is ""."""
    inner = children(value)
    if inner is None:
        yield path, value
        return
    for name, child in inner:
        yield from leaves(child, f"{path}/{name}" if path else name)


def is_array(value: Any) -> bool:
    """Return whether a leaf is an array or a tensor."""
    return hasattr(value, "shape") and hasattr(value, "dtype")


def outline(value: Any, kind: Callable[[Any], str | None], path: str = "") -> Outline:
    """Return the tree of a nested value; `kind` names the kind of a leaf's numbers, or is None if it has none.

    Raises:
        OutputStructureError: a leaf is neither an array nor a number nor None.
    """
    inner = children(value)
    if inner is None:
        found = "None" if value is None else kind(value)
        if found is None:
            raise OutputStructureError(
                f"{name_of(path)} is of the type {type(value).__name__}, which cannot be compared: let both networks "
                f"return arrays, numbers and None, in tuples, lists, dicts, named tuples or dataclasses"
            )
        return Leaf(path, tuple(getattr(value, "shape", ())), found)
    names = None if isinstance(value, tuple | list) and not hasattr(value, "_fields") else tuple(n for n, _ in inner)
    made = tuple(outline(child, kind, f"{path}/{name}" if path else name) for name, child in inner)
    return Branch(path, type(value).__name__, names, isinstance(value, tuple | list), made)


def kind_of_dtype(dtype: Any) -> str | None:
    """Return the kind of numbers that a NumPy or JAX dtype holds, or None if it holds no numbers."""
    if jnp.issubdtype(dtype, jnp.floating):
        return "floating"
    if jnp.issubdtype(dtype, np.complexfloating):
        return "complex"
    if jnp.issubdtype(dtype, np.integer):
        return "whole"
    return "boolean" if jnp.issubdtype(dtype, np.bool_) else None


def kind_of_array(value: Any) -> str | None:
    """Return the kind of an array's or a Python number's numbers, or None if it is neither."""
    if isinstance(value, bool | int | float | complex):
        return kind_of_dtype(np.asarray(value).dtype)
    return kind_of_dtype(value.dtype) if is_array(value) else None


def matched(ours: Outline, theirs: Outline) -> list[tuple[Leaf, Leaf]]:
    """Return the pairs of leaves, JAX's first, of what both networks return, but for those that are None in both.

    Dicts, dataclasses and named tuples are the same if they have the same names, in any order; tuples, lists and named
    tuples if they have the same length.

    Raises:
        OutputStructureError: the trees differ, or a leaf of one has another kind of numbers than that of the other.
    """
    if isinstance(ours, Leaf) and isinstance(theirs, Leaf):
        if ours.kind != theirs.kind:
            raise OutputStructureError(
                f"{name_of(ours.path)} is {_described(ours)} in JAX and {_described(theirs)} in PyTorch, so they "
                f"cannot be compared: let both return the same kind of numbers"
            )
        return [] if ours.kind == "None" else [(ours, theirs)]
    pairs = _paired(ours, theirs) if isinstance(ours, Branch) and isinstance(theirs, Branch) else None
    if pairs is None:
        raise OutputStructureError(
            f"{name_of(ours.path)} is {_described(ours)} in JAX and {_described(theirs)} in PyTorch, so they cannot be "
            f"compared: let both networks return the same tree"
        )
    return [pair for mine, other in pairs for pair in matched(mine, other)]


def name_of(path: str) -> str:
    """Return how a leaf of a network's output is called: `output`, `output/0`, `output/logits`."""
    return f"output/{path}" if path else "output"


def _paired(ours: Branch, theirs: Branch) -> list[tuple[Outline, Outline]] | None:
    if ours.names is not None and theirs.names is not None:
        by_name = dict(zip(theirs.names, theirs.children, strict=True))
        if len(by_name) != len(ours.names) or by_name.keys() != set(ours.names):
            return None
        return [(child, by_name[name]) for name, child in zip(ours.names, ours.children, strict=True)]
    if ours.ordered and theirs.ordered and len(ours.children) == len(theirs.children):
        return list(zip(ours.children, theirs.children, strict=True))
    return None


def _described(node: Outline) -> str:
    if isinstance(node, Branch):
        parts = f"({', '.join(node.names)})" if node.names is not None else f"of {len(node.children)}"
        return f"a {node.what} {parts}"
    return "None" if node.kind == "None" else f"{node.kind} numbers of shape {node.shape}"
