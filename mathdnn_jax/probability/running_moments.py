"""The mean and standard error of a function over many draws, computed one chunk of draws at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mathdnn_jax.errors import NonFiniteError
from mathdnn_jax.probability.checks import concrete_values

Tree = Any


def moments_of(function: Callable[[Any], Tree], draws: Any, count: int, chunk: int) -> tuple[Tree, Tree]:
    """The mean of `function(draw)` over the `count` draws and its standard error, as trees like the function's value.

    The draws of a chunk are processed in parallel. Chunks are merged by their means and sums of squared deviations,
    never by sums of squares, which cancel (Chan, Golub and LeVeque, The American Statistician 37, 1983).
    """

    def chunk_moments(part: Any) -> tuple[Tree, Tree]:
        values = jax.vmap(function)(part)
        mean = jax.tree.map(lambda v: v.mean(0), values)
        squares = jax.tree.map(lambda v, m: jnp.square(v - m).sum(0), values, mean)
        return mean, squares

    def merge(carry: tuple[jax.Array, Tree, Tree], part: Any) -> tuple[tuple[jax.Array, Tree, Tree], None]:
        seen, mean, squares = carry
        new_mean, new_squares = chunk_moments(part)
        share = chunk / (seen + chunk)
        shift = jax.tree.map(jnp.subtract, new_mean, mean)
        mean = jax.tree.map(lambda m, d: m + d * share.astype(d.dtype), mean, shift)
        squares = jax.tree.map(
            lambda s, n, d: s + n + jnp.square(d) * (seen * share).astype(d.dtype), squares, new_squares, shift
        )
        return (seen + chunk, mean, squares), None

    parts = jax.tree.map(lambda d: d.reshape((count // chunk, chunk, *d.shape[1:])), draws)
    first = chunk_moments(jax.tree.map(lambda d: d[0], parts))
    if count == chunk:
        mean, squares = first
    else:
        rest = jax.tree.map(lambda d: d[1:], parts)
        seen = jnp.asarray(float(chunk))
        (_, mean, squares), _ = jax.lax.scan(merge, (seen, *first), rest)
    # A float, because the square of a large count does not fit into a 32-bit integer.
    return mean, jax.tree.map(lambda s: jnp.sqrt(s / float((count - 1) * count)), squares)


def check_finite(estimate: Tree) -> None:
    """Check that every concrete leaf is finite.

    Raises:
        NonFiniteError: A leaf is not; the message names it.
    """
    for path, leaf in jax.tree.leaves_with_path(estimate):
        values = concrete_values(leaf)
        if values is not None and not np.isfinite(values).all():
            raise NonFiniteError(
                f"the Monte Carlo estimate{jax.tree_util.keystr(path)} is not finite: "
                "h, log q or one of their derivatives is NaN or infinite at a draw"
            )
