"""A program of its own: import a framework, train the autoencoder for one epoch, and print the mean loss.

`python autoencoder_start.py FRAMEWORK IMAGES THREADS DEVICE [WAY]`. It imports only what the framework needs.
"""

from __future__ import annotations

import sys

import numpy as np

WIDTHS = (784, 256, 128, 32)
BATCH = 100
RATE = 1e-3


def grey_images(count: int) -> np.ndarray:
    """Draw images with something to learn, as each depends on eight numbers: uint8 (count, 784)."""
    rng = np.random.default_rng(0)
    parts, whole = rng.random((count, 8), dtype=np.float32), rng.random((8, 784), dtype=np.float32)
    return np.asarray(parts @ whole * (255 / 8), np.uint8)


def images(count: int) -> np.ndarray:
    """Return the same images scaled to [0, 1], float32."""
    return grey_images(count).astype(np.float32) / np.float32(255)


def by_jax(count: int) -> float:
    """Train by `mathdnn_jax.training.fit`, starting from PyTorch's initialisation as JAX draws it."""
    import jax
    import optax

    from mathdnn_jax.generative import autoencoder
    from mathdnn_jax.training import fit

    model = autoencoder(WIDTHS)

    def loss(params: object, rows: jax.Array, key: jax.Array) -> jax.Array:
        del key
        return model.reconstruction_error(params, rows).mean()

    params = jax.jit(model.init)(jax.random.key(0))
    done = fit(loss, params, images(count), optax.adam(RATE), epochs=1, batch_size=BATCH, key=jax.random.key(1))
    jax.block_until_ready(done.params)
    return float(done.history.loss.mean())


def by_torch(count: int, threads: int, device: str, way: str) -> float:
    """Train by the usual loop, the data in memory, with fused Adam or `torch.compile` if the way says so."""
    import torch

    from parity.reference.autoencoder import Autoencoder

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    module = Autoencoder(WIDTHS).to(device)
    optimizer = torch.optim.Adam(module.parameters(), lr=RATE, fused="fused" in way or None)
    network = torch.compile(module) if way.startswith("compiled") else module
    data = torch.from_numpy(images(count)).to(device)
    losses = []
    for order in torch.randperm(count, device=device).split(BATCH):
        rows = data[order]
        loss = torch.nn.functional.mse_loss(network(rows), rows)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
    return float(torch.stack(losses).mean())


def main(framework: str, count: str, threads: str, device: str, way: str = "") -> None:
    """Run the command line."""
    print(by_jax(int(count)) if framework == "jax" else by_torch(int(count), int(threads), device, way))


if __name__ == "__main__":
    main(*sys.argv[1:])
