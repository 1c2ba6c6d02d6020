"""Converting a carry to the named arrays of a checkpoint, and back."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from mathdnn_jax.errors import ConfigurationError, ResumeError
from mathdnn_jax.training.program import Carry


def named_leaves(carry: Carry) -> dict[str, Any]:
    """The arrays, or their shapes, under names like "params.coupling_0.dense_0.kernel"; PRNG keys as raw key data.

    Raises:
        ConfigurationError: Two leaves would have the same name, as the keys "0" and 0 of a dict would.
    """
    named: dict[str, Any] = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(carry):
        name = jax.tree_util.keystr(path, simple=True, separator=".")
        if name in named:
            raise ConfigurationError(f"two leaves have the name {name!r} and cannot both be saved")
        named[name] = jax.random.key_data(leaf) if _is_key(leaf) else leaf
    return named


def describe(named: dict[str, Any]) -> dict[str, str]:
    """The dtype and shape of each array as text."""
    return {name: f"{leaf.dtype}{list(leaf.shape)}" for name, leaf in named.items()}


def with_leaves(carry: Carry, named: dict[str, Any]) -> Carry:
    """A carry with the structure of `carry` that holds the named arrays."""
    paths, structure = jax.tree_util.tree_flatten_with_path(carry)
    leaves = []
    for path, old in paths:
        new = named[jax.tree_util.keystr(path, simple=True, separator=".")]
        leaves.append(jax.random.wrap_key_data(new, impl=jax.random.key_impl(old)) if _is_key(old) else new)
    restored: Carry = jax.tree.unflatten(structure, leaves)
    return restored


def check_leaves(there: dict[str, str], here: dict[str, str], path: object) -> None:
    """Raise ResumeError unless a checkpoint has exactly the leaves of this run."""
    wrong = [f"{name} is missing" for name in sorted(here.keys() - there.keys())]
    wrong += [f"{name} does not occur in this run" for name in sorted(there.keys() - here.keys())]
    wrong += [
        f"{name} is {there[name]} there and {here[name]} here"
        for name in sorted(here.keys() & there.keys())
        if there[name] != here[name]
    ]
    if wrong:
        shown = "; ".join(wrong[:5]) + (f"; and {len(wrong) - 5} more" if len(wrong) > 5 else "")
        raise ResumeError(f"{path} was written with another model, optimiser or setting: {shown}")


def _is_key(leaf: Any) -> bool:
    return bool(jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key))
