"""The models that can be converted by name."""

from __future__ import annotations

from parity.errors import UnknownModelError
from parity.models import autoencoder, conv_relu, dcgan, gan, lenet, mixture_cdf, net_in_net, nice, small_net, vae
from parity.models.model import Model

MODELS: dict[str, Model] = {
    "nice": nice.NICE,
    "small-net": small_net.WITH_BATCH_NORM,
    "small-net-folded": small_net.FOLDED,
    "net1": net_in_net.NET1,
    "net2": net_in_net.NET2,
    "conv-relu-bn": conv_relu.BATCH_NORM,
    "conv-relu-sign-bias": conv_relu.SIGN_BIAS,
    "lenet": lenet.LENET,
    "mixture-cdf": mixture_cdf.MIXTURE_CDF,
    "vae": vae.BERNOULLI_VAE,
    "autoencoder": autoencoder.AUTOENCODER,
    "gan-generator": gan.DENSE_GENERATOR,
    "gan-discriminator": gan.DENSE_DISCRIMINATOR,
    "dcgan-generator": dcgan.DCGAN_GENERATOR,
    "dcgan-discriminator": dcgan.DCGAN_DISCRIMINATOR,
}


def find_model(name: str) -> Model:
    """Return the model of this name.

    Raises:
        UnknownModelError: there is none.
    """
    if name not in MODELS:
        raise UnknownModelError(f"no conversion is known for model {name!r}; known: {', '.join(sorted(MODELS))}")
    return MODELS[name]
