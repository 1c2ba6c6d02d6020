"""The two networks of a GAN, dense or those of the DCGAN; each has a checkpoint of its own.

The events of a generator are latents; those of the DCGAN's generator are images (1, 1, latent_dim).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from mathdnn_jax.generative import dcgan_discriminator, dcgan_generator, dense_discriminator, dense_generator
from mathdnn_jax.nets import Sequential
from parity.models.family import Events
from parity.models.layers import Line, batch_norm, convolution, dense, transposed_convolution
from parity.models.model import Config, Model
from parity.models.sequential import SEQUENTIAL, network
from parity.models.sizes import Read, Shapes, read_sizes

IMAGE = (28, 28)


def draw_latents(model: Any, variables: Any, events: Events, count: int, seed: int) -> tuple[np.ndarray, str]:
    """Draw standard normal latents, on which a generator is trained."""
    del model, variables
    z = np.random.default_rng(seed).standard_normal((count, *events.example), dtype=np.float32)
    return z, f"standard normal, seed {seed}"


GENERATOR = SEQUENTIAL._replace(draw=draw_latents)


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


def dense_generator_lines(config: Config) -> list[Line]:
    """List linear layer, batch norm, leaky ReLU, twice; then linear layer, sigmoid."""
    del config
    table = []
    for k in range(2):
        table.append(dense(f"gen.{k}.0")._replace(layer=f"dense_{k}"))
        table.append(batch_norm(f"gen.{k}.1")._replace(layer=f"norm_{k}"))
        table.append(Line(f"gen.{k}.2", layer=f"relu_{k}"))
    return [*table, dense("gen.2.0")._replace(layer="dense_2"), Line("gen.2.1", layer="output")]


def dense_discriminator_lines(config: Config) -> list[Line]:
    """List linear layer, leaky ReLU, twice; then a linear layer."""
    del config
    table = []
    for k in range(2):
        table += [dense(f"disc.{k}.0")._replace(layer=f"dense_{k}"), Line(f"disc.{k}.1", layer=f"relu_{k}")]
    return [*table, dense("disc.2.0")._replace(layer="dense_2")]


DCGAN_GENERATOR_SIZES = (
    Read("latent_dim", [("gen.0.0.weight", 0)]),
    Read("width", [("gen.2.0.weight", 1), ("gen.3.0.weight", 0), ("gen.2.0.bias", 0)]),
    Read("image_channels", [("gen.3.0.weight", 1), ("gen.3.0.bias", 0)]),
)
DCGAN_DISCRIMINATOR_SIZES = (
    Read("width", [("disc.0.0.weight", 0), ("disc.0.0.bias", 0), ("disc.1.0.weight", 1)]),
    Read("image_channels", [("disc.0.0.weight", 1)]),
)
DENSE_GENERATOR_SIZES = (
    Read("latent_dim", [("gen.0.0.weight", 1)]),
    Read("first", [("gen.0.0.weight", 0), ("gen.1.0.weight", 1), ("gen.0.0.bias", 0)]),
    Read("second", [("gen.1.0.weight", 0), ("gen.2.0.weight", 1), ("gen.1.0.bias", 0)]),
    Read("size", [("gen.2.0.weight", 0), ("gen.2.0.bias", 0)]),
)
DENSE_DISCRIMINATOR_SIZES = (
    Read("size", [("disc.0.0.weight", 1)]),
    Read("first", [("disc.0.0.weight", 0), ("disc.1.0.weight", 1), ("disc.0.0.bias", 0)]),
    Read("second", [("disc.1.0.weight", 0), ("disc.2.0.weight", 1), ("disc.1.0.bias", 0)]),
)


def _dcgan_generator_sizes(shapes: Shapes, names: Iterable[str]) -> Config:
    return dict(read_sizes("dcgan-generator", DCGAN_GENERATOR_SIZES, _with_axes(shapes, 4), names))


def _dcgan_discriminator_sizes(shapes: Shapes, names: Iterable[str]) -> Config:
    return dict(read_sizes("dcgan-discriminator", DCGAN_DISCRIMINATOR_SIZES, _with_axes(shapes, 4), names))


def _dense_generator_sizes(shapes: Shapes, names: Iterable[str]) -> Config:
    sizes = read_sizes("gan-generator", DENSE_GENERATOR_SIZES, _with_axes(shapes, 2), names)
    return {"latent_dim": sizes["latent_dim"], "hidden": [sizes["first"], sizes["second"]], "size": sizes["size"]}


def _dense_discriminator_sizes(shapes: Shapes, names: Iterable[str]) -> Config:
    sizes = read_sizes("gan-discriminator", DENSE_DISCRIMINATOR_SIZES, _with_axes(shapes, 2), names)
    return {"size": sizes["size"], "hidden": [sizes["first"], sizes["second"]]}


def _with_axes(shapes: Shapes, ndim: int) -> Shapes:
    # Dense and convolutional networks have the same names; the rank of the weights tells them apart.
    norms = ("gen.0.1.", "gen.1.1.", "gen.2.1.", "disc.1.1.")
    fits = {n: s for n, s in shapes.items() if not n.endswith("weight") or n.startswith(norms) or len(s) == ndim}
    return fits if any(n.endswith("0.weight") for n in fits) else {}


def _build_dcgan_generator(image_channels: int, width: int, **_: int) -> Sequential:
    return dcgan_generator(image_channels, width)


def _build_dcgan_discriminator(width: int, **_: int) -> Sequential:
    return dcgan_discriminator(width)


def _build_dense_generator(size: int, hidden: Sequence[int], **_: int) -> Sequential:
    return dense_generator(size, hidden)


def _build_dense_discriminator(hidden: Sequence[int], **_: int) -> Sequential:
    return dense_discriminator(hidden)


def _twin(name: str) -> Any:
    def build(**config: Any) -> Any:
        from parity import reference

        return getattr(reference, name)(**config)

    return build


def _fixed(*shape: int) -> Events:
    return Events(shape, shape)


DCGAN_GENERATOR: Model = network(
    dcgan_generator_lines,
    _dcgan_generator_sizes,
    full_size={"latent_dim": 64, "width": 64, "image_channels": 1},
    build=_build_dcgan_generator,
    events=lambda config: _fixed(1, 1, config["latent_dim"]),
    twin=_twin("DCGANGenerator"),
    family=GENERATOR,
)

DCGAN_DISCRIMINATOR: Model = network(
    dcgan_discriminator_lines,
    _dcgan_discriminator_sizes,
    full_size={"width": 64, "image_channels": 1},
    build=_build_dcgan_discriminator,
    events=lambda config: _fixed(*IMAGE, config["image_channels"]),
    twin=_twin("DCGANDiscriminator"),
)

DENSE_GENERATOR: Model = network(
    dense_generator_lines,
    _dense_generator_sizes,
    full_size={"latent_dim": 64, "hidden": [256, 512], "size": 784},
    build=_build_dense_generator,
    events=lambda config: _fixed(config["latent_dim"]),
    twin=_twin("DenseGenerator"),
    family=GENERATOR,
    event_ndims=1,
)

DENSE_DISCRIMINATOR: Model = network(
    dense_discriminator_lines,
    _dense_discriminator_sizes,
    full_size={"size": 784, "hidden": [512, 256]},
    build=_build_dense_discriminator,
    events=lambda config: _fixed(config["size"]),
    twin=_twin("DenseDiscriminator"),
    event_ndims=1,
)
