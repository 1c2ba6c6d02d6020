"""Old values where a step was not finite. `Any` is any pytree of arrays here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp


def choose(alive: jax.Array, new: Any, old: Any) -> Any:
    """The new leaves where `alive`, a bool scalar, else the old ones, bit for bit."""
    return jax.tree.map(lambda new, old: jnp.where(alive, new, old), new, old)


def advance_where(alive: jax.Array, advance: Callable[..., Any], old: Any, *inputs: Any) -> Any:
    """`advance(old, *inputs)` where `alive`, a bool scalar, else `old`, bit for bit; of one structure.

    On a processor it is a branch. There XLA makes Adam's averages twice, for their own sake and for the parameters',
    and once each is chosen entry by entry it copies the old ones first, since the second reader still needs them:
    a quarter of a NICE's step of 128 images. A GPU would have a branch wait for the host, and there the choice is
    fused.
    """

    def ahead(old: Any, *inputs: Any) -> Any:
        return jax.tree.map(_as_before, advance(old, *inputs), old)

    def branch(alive: jax.Array, old: Any, *inputs: Any) -> Any:
        return jax.lax.cond(alive, ahead, lambda old, *_: old, old, *inputs)

    def select(alive: jax.Array, old: Any, *inputs: Any) -> Any:
        return choose(alive, ahead(old, *inputs), old)

    return jax.lax.platform_dependent(alive, old, *inputs, cpu=branch, default=select)


def _as_before(new: Any, old: Any) -> Any:
    """In the old leaf's dtype: some optimisers keep a state in another than they began with."""
    return new if jnp.issubdtype(jnp.result_type(old), jax.dtypes.prng_key) else jnp.asarray(new, jnp.result_type(old))


def all_finite(tree: Any) -> jax.Array:
    """Whether no floating leaf has a NaN or an infinity: a bool scalar.

    0 · x is NaN where x is not finite, and 0 else. As a product with a vector of zeros that is a third of the time that
    XLA takes on the processor to combine a truth value for each entry.
    """
    floats = [leaf for leaf in jax.tree.leaves(tree) if jnp.issubdtype(jnp.result_type(leaf), jnp.inexact)]
    return jnp.stack([_finite(jnp.asarray(leaf)) for leaf in floats]).all() if floats else jnp.asarray(True)


def _finite(leaf: jax.Array) -> jax.Array:
    if leaf.ndim:
        leaf = jnp.matmul(leaf, jnp.zeros(leaf.shape[-1], leaf.dtype), precision="highest")
    return jnp.isfinite(leaf).all()
