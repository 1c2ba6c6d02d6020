"""Checkpoints that strangers trained: certified, and put to use."""

from __future__ import annotations

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import parity
from mathdnn_jax.cli.pictures import save_figure
from mathdnn_jax.plots import grid_figure

pytest.importorskip("torch", reason="a certificate runs the PyTorch network")

FILES = {
    "vae": ("mlp_vae_fashion_mnist.pth", 652_824, {"dim": 784, "hidden": 400, "latent_dim": 20, "prior": "standard"}),
    "lenet": ("lenet_cifar.pth", 62_006, {"classes": 10}),
    "dcgan-generator": ("dcgan_digits_generator.pth", 747_841, {"latent_dim": 64, "width": 64, "image_channels": 1}),
}


@pytest.fixture(scope="module")
def folder(shared: Path) -> Path:
    return shared / "checkpoints" / "third_party"


@pytest.mark.parametrize("model", list(FILES))
def test_each_is_certified(folder: Path, model: str, tmp_path: Path) -> None:
    name, parameters, config = FILES[model]
    certificate = parity.certify(folder / name, model, events=64, output=tmp_path / "c.json")
    assert certificate["passed"]
    assert certificate["round_trip_bit_exact"]
    assert certificate["config"] == config
    assert certificate["checkpoint"]["parameters"] == parameters


def test_the_generator_makes_digits(folder: Path, tmp_path: Path) -> None:
    network, variables, _, _ = parity.restore(folder / FILES["dcgan-generator"][0], "dcgan-generator")
    z = jax.random.normal(jax.random.key(0), (32, 1, 1, 64))
    images = np.asarray(jax.jit(network.apply)(variables, z))[..., 0]
    assert images.shape == (32, 28, 28)
    # Bright strokes on black, inside the 20 × 20 pixels that MNIST's digits fill, and not the same each time.
    bright = images > 0
    assert 0.05 < bright.mean() < 0.3
    assert bright[:, 4:24, 4:24].sum() > 0.95 * bright.sum()
    assert (images < -0.9).mean() > 0.5
    assert np.abs(images - images.mean(0)).mean() > 0.1
    _picture((images + 1) / 2, tmp_path)


def test_the_vae_makes_fashion_items(folder: Path, tmp_path: Path) -> None:
    model, params, _, _ = parity.restore(folder / FILES["vae"][0], "vae")
    images = np.asarray(model.decode(params, model.sample_latent(params, jax.random.key(0), (32,))))
    assert ((images >= 0) & (images <= 1)).all()
    # The training images have a mean of 0.286.
    assert 0.2 < images.mean() < 0.37
    # It knows its own pictures again, and not noise: the bound tells.
    bound = jax.jit(model.elbo)
    noise = jax.random.permutation(jax.random.key(1), jnp.asarray(images), axis=1, independent=True)
    own, other = (bound(params, x, jax.random.key(2)).mean() for x in (jnp.asarray(images), noise))
    assert own > other + 100
    _picture(images.reshape(-1, 28, 28), tmp_path)


def test_lenet_knows_what_images_show(folder: Path, shared: Path) -> None:
    network, variables, _, _ = parity.restore(folder / FILES["lenet"][0], "lenet")
    with np.load(shared / "data" / "CIFAR10" / "test_jpeg.npz") as file:
        images, labels = file["images"][:2000], file["labels"][:2000]
    x = (images.astype(np.float32) / 255 - 0.5) / 0.5
    scores = jax.jit(network.apply)(variables, jnp.asarray(x))
    # A tenth by chance.
    assert (np.asarray(scores).argmax(-1) == labels).mean() > 0.5


def _picture(images: np.ndarray, folder: Path) -> None:
    pytest.importorskip("matplotlib", reason="pictures need matplotlib")
    save_figure(grid_figure(images, 8, ""), folder / "made.png")
    assert (folder / "made.png").stat().st_size > 5000
