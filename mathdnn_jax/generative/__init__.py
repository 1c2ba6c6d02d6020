"""Models without a tractable density: VAE, GAN, autoencoder."""

from mathdnn_jax.generative.autoencoder import Autoencoder, autoencoder
from mathdnn_jax.generative.gan import GAN, gan
from mathdnn_jax.generative.gan_training import GANLosses, GANState, GANTraining, gan_training
from mathdnn_jax.generative.layers import (
    conv_decoder,
    conv_trunk,
    dcgan_discriminator,
    dcgan_generator,
    dense_decoder,
    dense_discriminator,
    dense_generator,
    dense_trunk,
)
from mathdnn_jax.generative.vae import VAE, vae

__all__ = [
    "GAN",
    "VAE",
    "Autoencoder",
    "GANLosses",
    "GANState",
    "GANTraining",
    "autoencoder",
    "conv_decoder",
    "conv_trunk",
    "dcgan_discriminator",
    "dcgan_generator",
    "dense_decoder",
    "dense_discriminator",
    "dense_generator",
    "dense_trunk",
    "gan",
    "gan_training",
    "vae",
]
