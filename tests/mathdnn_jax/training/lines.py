"""A linear regression, small enough that every case of training can be repeated by hand."""

from __future__ import annotations

from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax

Tree = Any

EXAMPLES, DIM, BATCH = 40, 3, 8
_rng = np.random.default_rng(0)
X = _rng.normal(size=(EXAMPLES, DIM)).astype(np.float32)
Y = (X @ np.array([1.0, -2.0, 3.0]) + 0.5 + 0.1 * _rng.normal(size=EXAMPLES)).astype(np.float32)
DATA = {"x": X, "y": Y}
OPTIMIZER = optax.adam(0.05)
KEY = jax.random.key(3)


def start() -> dict[str, jax.Array]:
    return {"w": jnp.zeros(DIM), "b": jnp.zeros(())}


def residuals(params: Tree, batch: Tree) -> jax.Array:
    error: jax.Array = batch["x"] @ params["w"] + params["b"] - batch["y"]
    return error


def loss(params: Tree, batch: Tree, key: jax.Array) -> tuple[jax.Array, dict[str, jax.Array]]:
    error = residuals(params, batch)
    return (error**2).mean(), {"absolute": jnp.abs(error).mean()}


def masked_loss(params: Tree, batch: Tree, key: jax.Array, mask: jax.Array) -> jax.Array:
    return (residuals(params, batch) ** 2).mean(where=mask)


def noisy_loss(params: Tree, batch: Tree, key: jax.Array) -> jax.Array:
    noise = 0.1 * jax.random.normal(key, batch["x"].shape)
    return (residuals(params, {**batch, "x": batch["x"] + noise}) ** 2).mean()


def counting_loss(params: Tree, state: Tree, batch: Tree, key: jax.Array) -> tuple[jax.Array, tuple[Tree, Tree]]:
    mean = 0.9 * state["mean"] + 0.1 * batch["x"].mean(0)
    return (residuals(params, batch) ** 2).mean(), ({"steps": state["steps"] + 1, "mean": mean}, {})


def same(left: Tree, right: Tree) -> bool:
    """Whether two trees agree bit by bit."""
    equal = jax.tree.map(lambda a, b: bool((np.asarray(a) == np.asarray(b)).all()), left, right)
    return all(jax.tree.leaves(equal))


def assert_same(left: Tree, right: Tree) -> None:
    """Two trees have the same structure, shapes, dtypes and bits, none of which is NaN."""
    chex.assert_trees_all_equal(left, right, strict=True)
    chex.assert_tree_all_finite(left)


def assert_close(left: Tree, right: Tree, rtol: float) -> None:
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol), left, right)
