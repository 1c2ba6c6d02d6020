"""Training loops for the tests, with whole epochs under one jit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from mathdnn_jax.generative import GAN, VAE, Autoencoder, gan_training

Step = Callable[[Any, jax.Array, jax.Array], tuple[Any, Any]]


def run_epochs(
    step: Step, state: Any, images: np.ndarray, *, epochs: int, batch_size: int, seed: int = 0
) -> tuple[Any, list[Any]]:
    """Scan `step(state, key, batch) -> (state, loss)` over shuffled batches; return the mean losses of every epoch."""
    rng, key = np.random.default_rng(seed), jax.random.key(seed)
    count = len(images) // batch_size
    x = jnp.asarray(images)

    @jax.jit
    def epoch(state: Any, indices: jax.Array, key: jax.Array) -> tuple[Any, Any]:
        def body(state: Any, batch: tuple[jax.Array, jax.Array]) -> tuple[Any, Any]:
            rows, key = batch
            return step(state, key, x[rows])

        state, losses = jax.lax.scan(body, state, (indices, jax.random.split(key, count)))
        return state, jax.tree.map(jnp.mean, losses)

    history = []
    for k in range(epochs):
        order = rng.permutation(len(images))[: count * batch_size].reshape(count, batch_size).astype(np.int32)
        # Adam in optax mixes integers and floats.
        with jax.numpy_dtype_promotion("standard"):
            state, losses = epoch(state, jnp.asarray(order), jax.random.fold_in(key, k))
        history.append(jax.tree.map(float, losses))
    return state, history


def train(
    loss: Callable[[Any, jax.Array, jax.Array], jax.Array],
    params: Any,
    images: np.ndarray,
    learning_rate: float,
    **run: Any,
) -> tuple[Any, list[float]]:
    """Minimise `loss(params, key, batch)` by Adam; return the parameters and the loss of every epoch."""
    optimizer = optax.adam(learning_rate)

    def step(state: Any, key: jax.Array, x: jax.Array) -> tuple[Any, jax.Array]:
        params, moments = state
        value, gradient = jax.value_and_grad(loss)(params, key, x)
        change, moments = optimizer.update(gradient, moments, params)
        return (optax.apply_updates(params, change), moments), value

    (params, _), history = run_epochs(step, (params, optimizer.init(params)), images, **run)
    return params, history


def train_vae(model: VAE, images: np.ndarray, *, learning_rate: float = 1e-3, elbo: Any = None, **run: Any) -> Any:
    """Maximise the mean ELBO; return the parameters and the ELBO of every epoch."""

    def loss(params: Any, key: jax.Array, x: jax.Array) -> jax.Array:
        return -model.elbo(params, x, key, **(elbo or {})).mean()

    params, history = train(loss, model.init(jax.random.key(run.get("seed", 0))), images, learning_rate, **run)
    return params, [-value for value in history]


def train_autoencoder(model: Autoencoder, images: np.ndarray, *, learning_rate: float = 1e-3, **run: Any) -> Any:
    """Minimise the mean squared error; return the parameters and the error of every epoch."""

    def loss(params: Any, _: jax.Array, x: jax.Array) -> jax.Array:
        return model.reconstruction_error(params, x).mean()

    return train(loss, model.init(jax.random.key(run.get("seed", 0))), images, learning_rate, **run)


def train_gan(model: GAN, images: np.ndarray, *, learning_rate: float = 2e-4, **run: Any) -> Any:
    """Train by alternating Adam; return the last state and both losses of every epoch."""
    training = gan_training(model, optax.adam(learning_rate, b1=0.5), optax.adam(learning_rate, b1=0.5))
    return run_epochs(training.step, training.init(jax.random.key(run.get("seed", 0))), images, **run)


def bounds(model: VAE, params: Any, images: np.ndarray, samples: int) -> tuple[float, float]:
    """The mean ELBO of images, with ten draws each, and their mean importance-weighted bound."""

    @jax.jit
    def both(x: jax.Array, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        first, second = jax.random.split(key)
        return model.elbo(params, x, first, samples=10), model.log_marginal(params, x, second, samples=samples)

    keys = jax.random.split(jax.random.key(1), len(images) // 500)
    found = [both(jnp.asarray(images[500 * k : 500 * (k + 1)]), keys[k]) for k in range(len(keys))]
    return tuple(float(np.mean([np.asarray(values) for values in column])) for column in zip(*found, strict=True))  # type: ignore[return-value]
