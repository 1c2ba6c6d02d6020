"""Random arrays with the shapes of a function's result, drawn by NumPy so that nothing is compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def drawn(init: Callable[..., Any], *arguments: Any, seed: int = 0, scale: float = 1.0, dtype: Any = np.float32) -> Any:
    """Return a tree like `init(key, *arguments)`: normal numbers of variance scale² / fan-in, and zeros for integers.

    The result of `init` itself often hides mistakes, because scalings start as the identity and last layers as zero.
    """
    rng = np.random.default_rng(seed)

    def draw(leaf: jax.ShapeDtypeStruct) -> jax.Array:
        if not jnp.issubdtype(leaf.dtype, jnp.floating):
            return jnp.asarray(np.zeros(leaf.shape, leaf.dtype))
        fan_in = int(np.prod(leaf.shape[:-1])) if len(leaf.shape) > 1 else 1
        return jnp.asarray(scale * rng.normal(size=leaf.shape) / np.sqrt(max(fan_in, 1)), dtype)

    return jax.tree.map(draw, jax.eval_shape(lambda *given: init(jax.random.key(0), *given), *arguments))


def normal(*shape: int, seed: int = 0, dtype: Any = np.float32) -> jax.Array:
    """Return an array of standard normal numbers."""
    return jnp.asarray(np.random.default_rng((seed, 1)).normal(size=shape), dtype)
