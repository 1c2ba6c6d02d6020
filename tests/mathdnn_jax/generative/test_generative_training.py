"""Short training runs on real images, in which the losses improve."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mathdnn_jax import autoencoder, data, gan, vae
from mathdnn_jax.generative import dense_decoder, dense_discriminator, dense_generator, dense_trunk
from mathdnn_jax.tasks import detect_by_error, reconstruction_errors

from .generative_training import bounds, train_autoencoder, train_gan, train_vae

pytest.importorskip("sklearn", reason="trains on scikit-learn's digits")


@pytest.fixture(scope="module")
def digits() -> tuple[np.ndarray, np.ndarray]:
    train, test = (data.unit_interval(data.load("digits", split).images).reshape(-1, 64) for split in ("train", "test"))
    return train, test


@pytest.mark.long
def test_a_vae_learns_digits_and_its_prior(digits: tuple[np.ndarray, np.ndarray]) -> None:
    train, test = digits
    found = {}
    for prior in ("trainable", "standard"):
        model = vae((64,), 4, trunk=dense_trunk((32,)), decoder=dense_decoder(64, (32,)), prior=prior)
        params, history = train_vae(model, train, epochs=40, batch_size=50, learning_rate=3e-3)
        found[prior] = bounds(model, params, test, samples=50)
        assert history[-1] > history[0] + 10
        assert found[prior][0] > history[0] + 10
        # The importance-weighted bound is the tighter one.
        assert found[prior][1] > found[prior][0] + 0.2
    assert np.abs(params["encoder"]["mean"]["kernel"]).max() > 0


def test_a_gan_learns_where_the_digits_are(digits: tuple[np.ndarray, np.ndarray]) -> None:
    train, _ = digits
    model = gan((64,), 8, generator=dense_generator(64, (32,)), discriminator=dense_discriminator((32,)))
    state, losses = train_gan(model, train, epochs=60, batch_size=50, learning_rate=2e-3)
    z = model.sample_latent(jax.random.key(1), (500,))
    first, _ = model.init(jax.random.key(0))
    before, after = (np.asarray(model.generate(p, state.state, z)).mean(0) for p in (first, state.params))
    distance = [np.square(mean - train.mean(0)).mean() for mean in (before, after)]
    assert distance[1] < 0.3 * distance[0]
    assert all(np.isfinite(list(loss)).all() for loss in losses)
    # D started at 2 log 2, the loss of a coin flip, and has learnt to tell the two apart.
    assert losses[0].discriminator < 2 * np.log(2)


def test_an_autoencoder_rebuilds_digits_and_not_photographs(digits: tuple[np.ndarray, np.ndarray]) -> None:
    train, test = digits
    model = autoencoder((64, 32, 8))
    params, history = train_autoencoder(model, train[:900], epochs=60, batch_size=50, learning_rate=3e-3)
    assert history[-1] < 0.4 * history[0]
    photographs = data.load("photographs").images
    found = detect_by_error(*(reconstruction_errors(model, params, part) for part in (train[900:], test, photographs)))
    assert found.type_1_errors < 0.05 * found.type_1_total
    assert found.auroc > 0.8
    assert jnp.isfinite(found.threshold)
