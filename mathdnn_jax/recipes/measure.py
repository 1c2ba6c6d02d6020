"""Metrics of many examples, computed batch by batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mathdnn_jax.errors import NonFiniteError
from mathdnn_jax.training.update import Tree

BATCH = 500
"""The number of examples evaluated at a time."""


def in_batches(
    function: Callable[[Tree, Tree, Tree, jax.Array], Any], batch_size: int = BATCH
) -> Callable[[Tree, Tree, Tree, jax.Array], Any]:
    """Return `run(params, state, examples, key)`, which evaluates `function` on all examples.

    `run` returns what `function` returns, concatenated to float64 NumPy arrays (N, …).
    `function(params, state, batch, key)` is compiled once, for batches of one size. The last batch is filled up with
    examples from the beginning, repeatedly if necessary, whose values are dropped. Matrix products have full float32
    precision.
    """
    compiled = jax.jit(function)

    def run(params: Tree, state: Tree, examples: Tree, key: jax.Array) -> Any:
        count = len(jax.tree.leaves(examples)[0])
        found = []
        for k, start in enumerate(range(0, count, batch_size)):
            rows = np.arange(start, start + batch_size) % count
            batch = jax.tree.map(lambda leaf, rows=rows: leaf[rows], examples)
            with jax.default_matmul_precision("highest"):
                values = compiled(params, state, batch, jax.random.fold_in(key, k))
            kept = min(batch_size, count - start)
            found.append(jax.tree.map(lambda leaf, kept=kept: np.asarray(leaf, np.float64)[:kept], values))
        return jax.tree.map(lambda *parts: np.concatenate(parts), *found)

    return run


def finite_mean(values: np.ndarray, what: str) -> float:
    """The mean of (N,).

    Raises:
        NonFiniteError: a value is NaN or infinite; the message names the first such example.
    """
    wrong = np.flatnonzero(~np.isfinite(values))
    if len(wrong):
        raise NonFiniteError(
            f"{what} is {values[wrong[0]]} for example {wrong[0]}, and not finite for {len(wrong)} of {len(values)}"
        )
    return float(values.mean())


def masked_mean(values: jax.Array, mask: jax.Array | None) -> jax.Array:
    """The mean of those of the values (N,) for which the mask is true; a scalar."""
    if mask is None:
        return values.mean()
    kept = jnp.where(mask, values, jnp.zeros_like(values))
    return kept.sum() / mask.sum().astype(values.dtype)


def dtype_of(params: Tree) -> Any:
    """The dtype in which the model computes."""
    return jnp.result_type(*jax.tree.leaves(params))
