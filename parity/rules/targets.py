"""Flattens any tree of arrays that JAX knows (Linen variables, NNX state, nested dicts), and rebuilds it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from parity.errors import RuleTableError
from parity.rules.tree import SEPARATOR

HALF_PRECISION = ("bfloat16", "float16")
STREAMS = frozenset({"rng", "rngs"})
"""The names of collections of random streams."""


def target_leaves(variables: Any) -> dict[str, Any]:
    """Return {path: leaf}, with paths written `params/conv1/kernel`; keys of random streams, not weights, are left out.

    Raises:
        RuleTableError: the tree has no arrays, or two leaves have the same path.
    """
    leaves: dict[str, Any] = {}
    for path, leaf in with_paths(variables):
        if path in leaves:
            raise RuleTableError(f"two leaves of the target have the path {path}")
        if _is_array(leaf) and not _is_stream(path, leaf):
            leaves[path] = leaf
    if not leaves:
        raise RuleTableError(
            f"the target is a tree of arrays (variables), got a {type(variables).__name__} that has none"
        )
    return leaves


def rebuild(variables: Any, flat: Mapping[str, Any]) -> Any:
    """Put the leaves of `flat` in their places; everything else in the tree is unchanged."""
    leaves = [flat.get(path, leaf) for path, leaf in with_paths(variables)]
    return jax.tree.unflatten(jax.tree.structure(variables), leaves)


def with_paths(variables: Any) -> list[tuple[str, Any]]:
    """Return every leaf with its path, in the order of `jax.tree.leaves`."""
    pairs, _ = jax.tree_util.tree_flatten_with_path(variables)
    return [(SEPARATOR.join(map(_name, path)).removesuffix(f"{SEPARATOR}value"), leaf) for path, leaf in pairs]


def widened(tree: Any) -> Any:
    """Convert the floating-point arrays of a tree to float64; all others are unchanged."""
    return jax.tree.map(
        lambda leaf: leaf.astype(np.float64) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf, tree
    )


def in_float32(tree: Any) -> Any:
    """Convert the arrays of a tree in half precision to float32, which holds each of their numbers exactly."""
    return jax.tree.map(
        lambda leaf: leaf.astype(np.float32) if str(getattr(leaf, "dtype", "")) in HALF_PRECISION else leaf, tree
    )


def _name(entry: Any) -> str:
    for attribute in ("key", "name", "idx"):
        if hasattr(entry, attribute):
            return str(getattr(entry, attribute)).removeprefix(".")
    return str(entry)


def _is_array(leaf: Any) -> bool:
    dtype = getattr(leaf, "dtype", None)
    return dtype is not None and not jnp.issubdtype(dtype, jax.dtypes.prng_key)


def _is_stream(path: str, leaf: Any) -> bool:
    """Whether a leaf is the counter of a random stream, or the bits of an old-style key."""
    *outer, name = path.split(SEPARATOR)
    return str(leaf.dtype) == "uint32" and (name in ("count", "key") or not STREAMS.isdisjoint((*outer, name)))
