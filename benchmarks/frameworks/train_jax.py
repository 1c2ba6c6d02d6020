"""JAX's ways to train: a jitted step in a Python loop, and `mathdnn_jax.training.fit`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks.case import COMPARED_STEPS, Contender, Settings
from mathdnn_jax.flows import Flow
from mathdnn_jax.training import device_mesh, fit, gradient_update

Loss = Callable[[Any, jax.Array, jax.Array], jax.Array]
"""Takes parameters, a batch and a key, as `fit` calls it, and returns the mean loss of the batch."""


def negative_log_likelihood(flow: Flow) -> Loss:
    """Return the loss −mean log p of the batch under a flow, in nats."""

    def loss(params: Any, rows: jax.Array, key: jax.Array) -> jax.Array:
        del key
        return -flow.log_prob(params, rows).mean()

    return loss


def step_contender(
    loss: Loss, params: Any, batches: Sequence[jax.Array], rate: float, settings: Settings, *, restart: bool = False
) -> tuple[Contender, Callable[[], Any]]:
    """Return a contender that takes Adam's steps over the batches, dispatched one by one and awaited at the end.

    Args:
        loss: the loss to minimise.
        params: the parameters that training starts from.
        batches: one batch for each step.
        rate: Adam's learning rate.
        settings: the precision.
        restart: whether every run starts from `params`; otherwise each run continues where the last one ended.

    Returns:
        The contender, which donates its state and returns the losses of its first steps, and a function that returns
        the lowered step.
    """
    update = gradient_update(loss, optax.adam(rate), compute_dtype=compute_dtype(settings))
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
        return np.asarray(losses[:COMPARED_STEPS])

    return run, lambda: compiled.lower(*first(), batches[0])


def fit_contender(
    loss: Any,
    params: Any,
    data: Any,
    optimizer: Any,
    settings: Settings,
    *,
    batch: int,
    epochs: int = 1,
    shuffle: bool = False,
    devices: int = 1,
    state: Any = None,
    read: Callable[[np.ndarray], np.ndarray] = lambda losses: losses[:COMPARED_STEPS],
) -> Contender:
    """Return a contender that trains whole epochs by `fit`, from the same weights in each run.

    Args:
        loss: the loss, or one loss for each player, in the form that `fit` takes.
        params: the parameters that every run starts from.
        data: the training data, on the device.
        optimizer: an optax optimiser, or one for each player.
        settings: the precision.
        batch: the batch size; an incomplete last batch is dropped.
        epochs: the number of epochs in one run.
        shuffle: whether to draw a new order of the data in each epoch.
        devices: the number of devices that share each batch.
        state: the state that the loss updates, such as the statistics of batch norms.
        read: selects the result of a run from the losses of all its steps.
    """
    key = jax.random.key(0)
    mesh = device_mesh(data=devices) if devices > 1 else None

    def run() -> np.ndarray:
        result = fit(
            loss,
            params,
            data,
            optimizer,
            epochs=epochs,
            batch_size=batch,
            key=key,
            state=state,
            remainder="drop",
            shuffle=shuffle,
            compute_dtype=compute_dtype(settings),
            mesh=mesh,
        )
        jax.block_until_ready(result.params)
        return read(result.history.loss)

    return run


def compute_dtype(settings: Settings) -> Any:
    """Return the dtype that `fit` casts to for the loss: bfloat16, or None for no cast."""
    return jnp.bfloat16 if settings.precision == "bf16" else None
