"""Converts nested dicts of arrays to flat ones and back; paths are written `coupling_0/dense_0/kernel`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from parity.errors import UnexpectedKeysError

SEPARATOR = "/"


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return {path: leaf}, in the order of the tree."""
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        if isinstance(value, Mapping):
            flat.update(flatten(value, f"{prefix}{name}{SEPARATOR}"))
        else:
            flat[f"{prefix}{name}"] = value
    return flat


def unflatten(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Invert `flatten`.

    Raises:
        UnexpectedKeysError: a path is a leaf as well as a parent of another leaf.
    """
    tree: dict[str, Any] = {}
    for path, leaf in flat.items():
        *parents, name = path.split(SEPARATOR)
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
            if not isinstance(node, dict):
                raise UnexpectedKeysError(f"{parent} is both an array and a group of arrays, in {path}")
        if name in node:
            raise UnexpectedKeysError(f"{path} is both an array and a group of arrays")
        node[name] = leaf
    return tree
