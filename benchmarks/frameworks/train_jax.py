"""JAX's ways to train: a jitted step in a Python loop, and `mathdnn_jax.training.fit`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh

from benchmarks.frameworks.train_torch import TOLD
from benchmarks.harness.workload import Run, Settings
from mathdnn_jax.training import fit, gradient_update

Loss = Callable[[Any, jax.Array], jax.Array]


def step_run(
    loss: Loss, params: Any, batches: Sequence[jax.Array], rate: float, settings: Settings, *, restart: bool = False
) -> tuple[Run, Callable[[], Any]]:
    """Adam's steps over the batches, dispatched one by one and waited for at the end; and the lowered step.

    A run goes on from where the last one ended, unless it restarts; the state is donated. It returns its first losses.
    """
    update = gradient_update(_with_key(loss), optax.adam(rate), compute_dtype=compute_dtype(settings))
    key = jax.random.key(0)

    def step(params: Any, state: Any, rows: jax.Array) -> tuple[Any, Any, jax.Array]:
        done = update.step(params, state, None, rows, key, None)
        return done.params, done.optimizer_state, done.loss

    compiled = jax.jit(step, donate_argnums=(0, 1))

    def first() -> tuple[Any, Any]:
        copied = jax.tree.map(lambda leaf: jnp.array(leaf, copy=True), params)
        return copied, update.init(copied)

    held = [first()]

    def run() -> np.ndarray:
        now, state = first() if restart else held[0]
        losses = []
        for rows in batches:
            now, state, value = compiled(now, state, rows)
            losses.append(value)
        held[0] = (now, state)
        jax.block_until_ready((now, losses))
        return np.asarray(losses[:TOLD])

    return run, lambda: compiled.lower(*first(), batches[0])


def fit_run(
    loss: Loss,
    params: Any,
    data: jax.Array,
    rate: float,
    settings: Settings,
    *,
    batch: int,
    epochs: int,
    shuffle: bool = False,
    mesh: Mesh | None = None,
    told: Callable[[np.ndarray], np.ndarray] = lambda losses: losses[:TOLD],
) -> Run:
    """Whole epochs of `fit` from the same weights in each run; returns what is `told` of the losses of all steps."""
    with_key, optimizer, key = _with_key(loss), optax.adam(rate), jax.random.key(0)

    def run() -> np.ndarray:
        result = fit(
            with_key,
            params,
            data,
            optimizer,
            epochs=epochs,
            batch_size=batch,
            key=key,
            remainder="drop",
            shuffle=shuffle,
            compute_dtype=compute_dtype(settings),
            mesh=mesh,
        )
        jax.block_until_ready(result.params)
        return told(result.history.loss)

    return run


def compute_dtype(settings: Settings) -> Any:
    """What `fit` casts to for the loss: bfloat16 or nothing."""
    return jnp.bfloat16 if settings.precision == "bf16" else None


def _with_key(loss: Loss) -> Callable[[Any, jax.Array, jax.Array], jax.Array]:
    def with_key(params: Any, rows: jax.Array, key: jax.Array) -> jax.Array:
        del key
        return loss(params, rows)

    return with_key
