"""The two networks of the DCGAN, each with a checkpoint of its own; the generator's events are (1, 1, latent_dim)."""

from __future__ import annotations

from collections.abc import Iterable

from mathdnn_jax.generative import dcgan_discriminator, dcgan_generator
from mathdnn_jax.nets import Sequential
from parity.models.family import fixed_size
from parity.models.gan import GENERATOR, reference_twin, with_rank
from parity.models.layers import Line, batch_norm, convolution, transposed_convolution
from parity.models.model import Config, Model
from parity.models.sequential import network
from parity.models.sizes import Read, Shapes, read_sizes

IMAGE = (28, 28)


def dcgan_generator_lines(config: Config) -> list[Line]:
    """List transposed convolution, batch norm, ReLU, three times; then transposed convolution, tanh."""
    del config
    blocks = [(transposed_convolution(f"gen.{k}.0"), batch_norm(f"gen.{k}.1"), Line(f"gen.{k}.2")) for k in range(3)]
    return [line for block in blocks for line in block] + [transposed_convolution("gen.3.0"), Line("gen.3.1")]


def dcgan_discriminator_lines(config: Config) -> list[Line]:
    """List convolution, leaky ReLU; convolution, batch norm, leaky ReLU; convolution."""
    del config
    first = [convolution("disc.0.0"), Line("disc.0.1")]
    return [*first, convolution("disc.1.0"), batch_norm("disc.1.1"), Line("disc.1.2"), convolution("disc.2.0")]


DCGAN_GENERATOR_SIZES = (
    Read("latent_dim", [("gen.0.0.weight", 0)]),
    Read("width", [("gen.2.0.weight", 1), ("gen.3.0.weight", 0), ("gen.2.0.bias", 0)]),
    Read("image_channels", [("gen.3.0.weight", 1), ("gen.3.0.bias", 0)]),
)

DCGAN_DISCRIMINATOR_SIZES = (
    Read("width", [("disc.0.0.weight", 0), ("disc.0.0.bias", 0), ("disc.1.0.weight", 1)]),
    Read("image_channels", [("disc.0.0.weight", 1)]),
)


def _dcgan_generator_sizes(shapes: Shapes, names: Iterable[str]) -> Config:
    return dict(read_sizes("dcgan-generator", DCGAN_GENERATOR_SIZES, with_rank(shapes, 4), names))


def _dcgan_discriminator_sizes(shapes: Shapes, names: Iterable[str]) -> Config:
    return dict(read_sizes("dcgan-discriminator", DCGAN_DISCRIMINATOR_SIZES, with_rank(shapes, 4), names))


def _build_dcgan_generator(image_channels: int, width: int, **_: int) -> Sequential:
    return dcgan_generator(image_channels, width)


def _build_dcgan_discriminator(width: int, **_: int) -> Sequential:
    return dcgan_discriminator(width)


DCGAN_GENERATOR: Model = network(
    dcgan_generator_lines,
    _dcgan_generator_sizes,
    full_size={"latent_dim": 64, "width": 64, "image_channels": 1},
    build=_build_dcgan_generator,
    events=lambda config: fixed_size(1, 1, config["latent_dim"]),
    twin=reference_twin("DCGANGenerator"),
    family=GENERATOR,
)

DCGAN_DISCRIMINATOR: Model = network(
    dcgan_discriminator_lines,
    _dcgan_discriminator_sizes,
    full_size={"width": 64, "image_channels": 1},
    build=_build_dcgan_discriminator,
    events=lambda config: fixed_size(*IMAGE, config["image_channels"]),
    twin=reference_twin("DCGANDiscriminator"),
)
