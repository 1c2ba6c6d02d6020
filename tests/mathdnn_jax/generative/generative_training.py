"""Training loops for the tests, with whole epochs under one jit; as a program, full runs on MNIST with their metrics.

`python -m tests.mathdnn_jax.generative.generative_training vae --data-dir DATA --epochs 10 --picture vae.png`
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from mathdnn_jax import data
from mathdnn_jax.cli.pictures import save_figure
from mathdnn_jax.generative import GAN, VAE, Autoencoder, autoencoder, dense_generator, gan, gan_training, vae
from mathdnn_jax.plots import grid_figure
from mathdnn_jax.tasks import detect_by_error, reconstruction_errors

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


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("model", choices=("vae", "gan", "autoencoder"))
    parser.add_argument("--data-dir")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--prior", default="trainable")
    parser.add_argument("--latent-dim", type=int)
    parser.add_argument("--binarize", action="store_true", help="VAE: make images black and white, drawn once")
    parser.add_argument("--samples", type=int, default=1000, help="VAE: draws for the importance-weighted bound")
    parser.add_argument("--weight", type=float, default=1.0)
    parser.add_argument("--saturating", action="store_true")
    parser.add_argument("--picture", type=Path)
    options = parser.parse_args()
    sets = [data.unit_interval(data.load("mnist", split, options.data_dir).images) for split in ("train", "test")]
    if options.binarize:
        draws = np.random.default_rng(0)
        sets = [(draws.random(images.shape, np.float32) < images).astype(np.float32) for images in sets]
    training, test = (images.reshape(-1, 784) for images in sets)
    run = {"epochs": options.epochs, "batch_size": 100, "seed": options.seed}
    began = time.perf_counter()
    key, found = jax.random.key(2), dict[str, Any]()
    if options.model == "vae":
        model = vae(latent_dim=options.latent_dim or 20, prior=options.prior)
        params, history = train_vae(model, training, **run)
        found["seconds"] = time.perf_counter() - began
        found["training_elbo"] = history
        found["test_elbo"], found["test_importance_weighted"] = bounds(model, params, test, options.samples)
        found["prior_variance"] = np.exp(params.get("prior", {}).get("log_variance", np.zeros(1))).tolist()
        drawn = np.asarray(model.decode(params, model.sample_latent(params, key, (64,))))
    elif options.model == "gan":
        settings = {"weight": options.weight, "saturating": options.saturating}
        adversaries = gan(
            latent_dim=options.latent_dim or 64, generator=dense_generator(784, output="tanh"), **settings
        )
        training, test = (2 * images - 1 for images in (training, test))
        state, losses = train_gan(adversaries, training, **run)
        found["seconds"] = time.perf_counter() - began
        found["losses"] = [loss._asdict() for loss in losses]
        logits = jax.jit(adversaries.discriminate)
        drawn = np.asarray(adversaries.generate(state.params, state.state, adversaries.sample_latent(key, (1000,))))
        found["mean_logit_test"] = float(logits(state.params, state.state, jnp.asarray(test[:1000])).mean())
        found["mean_logit_generated"] = float(logits(state.params, state.state, jnp.asarray(drawn)).mean())
        drawn = (drawn[:64] + 1) / 2
    else:
        net = autoencoder()
        order = np.random.default_rng(options.seed).permutation(len(training))
        params, found["training_error"] = train_autoencoder(net, training[order[:50_000]], **run)
        found["seconds"] = time.perf_counter() - began
        outliers = data.load("kmnist", "test", options.data_dir).images
        sides = (training[order[50_000:]], test, outliers)
        found |= detect_by_error(*(reconstruction_errors(net, params, images) for images in sides))._asdict()
        drawn = np.asarray(net.reconstruct(params, jnp.asarray(test[:64])))
    print(json.dumps(found))
    if options.picture:
        save_figure(grid_figure(drawn.reshape(-1, 28, 28), 16, ""), options.picture)


if __name__ == "__main__":
    main()
