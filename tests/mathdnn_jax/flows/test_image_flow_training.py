from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
import pytest

from mathdnn_jax import Flow, glow, real_nvp
from mathdnn_jax.data import load
from mathdnn_jax.plots import grid_figure

from .short_training import train

DIGITS: dict[str, Callable[[], Flow]] = {
    "real_nvp": lambda: real_nvp((8, 8, 1), couplings=2, width=16),
    "glow": lambda: glow((8, 8, 1), steps=2, width=16),
    "glow of conditional PLU couplings": lambda: glow((8, 8, 1), steps=2, width=16, mixing="conditional_plu"),
}
MNIST: dict[str, Callable[[], Flow]] = {
    "real_nvp": lambda: real_nvp(couplings=2, width=16, depth=1),
    "glow": lambda: glow(steps=2, width=24),
}


@pytest.mark.long
@pytest.mark.parametrize("build", DIGITS.values(), ids=DIGITS.keys())
def test_the_loss_goes_down_on_digits(build: Callable[[], Flow]) -> None:
    images = load("digits").images[:, :, :, None]
    _, losses = train(build(), images, steps=60, batch_size=64, rate=3e-3)
    assert np.isfinite(losses).all()
    assert losses[-10:].mean() < losses[0] - 0.3


@pytest.mark.long
@pytest.mark.parametrize("build", MNIST.values(), ids=MNIST.keys())
def test_the_loss_goes_down_on_mnist_and_samples_make_a_picture(
    build: Callable[[], Flow], shared: Path, tmp_path: Path
) -> None:
    if importlib.util.find_spec("torchvision") is None:
        pytest.skip("MNIST is read by torchvision")
    flow = build()
    images = load("mnist", "train", shared / "data").images[:2048, :, :, None]
    params, losses = train(flow, images, steps=60, batch_size=32, rate=2e-3)
    assert np.isfinite(losses).all()
    assert losses[-5:].mean() < losses[0] - 2
    samples = np.asarray(flow.sample(params, jax.random.key(2), (12,), temperature=0.8))
    assert np.isfinite(samples).all()
    grid_figure(samples[..., 0], 6, "samples").savefig(tmp_path / "samples.png")
    assert (tmp_path / "samples.png").stat().st_size > 2000
