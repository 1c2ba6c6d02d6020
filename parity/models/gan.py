"""The two networks of a GAN of dense layers; each has a checkpoint of its own, and a generator's events are latents."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from mathdnn_jax.generative import dense_discriminator, dense_generator
from mathdnn_jax.nets import Sequential
from parity.models.family import Events, fixed_size
from parity.models.layers import Line, batch_norm, dense
from parity.models.model import Config, Model
from parity.models.sequential import SEQUENTIAL, network
from parity.models.sizes import Read, Shapes, read_sizes


def draw_latents(model: Any, variables: Any, events: Events, count: int, seed: int) -> tuple[np.ndarray, str]:
    """Draw standard normal latents, on which a generator is trained."""
    del model, variables
    z = np.random.default_rng(seed).standard_normal((count, *events.example), dtype=np.float32)
    return z, f"standard normal, seed {seed}"


GENERATOR = SEQUENTIAL._replace(draw=draw_latents)


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


def _dense_generator_sizes(shapes: Shapes, names: Iterable[str]) -> Config:
    sizes = read_sizes("gan-generator", DENSE_GENERATOR_SIZES, with_rank(shapes, 2), names)
    return {"latent_dim": sizes["latent_dim"], "hidden": [sizes["first"], sizes["second"]], "size": sizes["size"]}


def _dense_discriminator_sizes(shapes: Shapes, names: Iterable[str]) -> Config:
    sizes = read_sizes("gan-discriminator", DENSE_DISCRIMINATOR_SIZES, with_rank(shapes, 2), names)
    return {"size": sizes["size"], "hidden": [sizes["first"], sizes["second"]]}


def with_rank(shapes: Shapes, rank: int) -> Shapes:
    """Leave out the weights of another rank, by which dense and convolutional networks of the same names differ."""
    norms = ("gen.0.1.", "gen.1.1.", "gen.2.1.", "disc.1.1.")
    fits = {n: s for n, s in shapes.items() if not n.endswith("weight") or n.startswith(norms) or len(s) == rank}
    return fits if any(n.endswith("0.weight") for n in fits) else {}


def _build_dense_generator(size: int, hidden: Sequence[int], **_: int) -> Sequential:
    return dense_generator(size, hidden)


def _build_dense_discriminator(hidden: Sequence[int], **_: int) -> Sequential:
    return dense_discriminator(hidden)


def reference_twin(name: str) -> Any:
    """Return a function from hyperparameters to the PyTorch module of this name."""

    def build(**config: Any) -> Any:
        from parity import reference

        return getattr(reference, name)(**config)

    return build


DENSE_GENERATOR: Model = network(
    dense_generator_lines,
    _dense_generator_sizes,
    full_size={"latent_dim": 64, "hidden": [256, 512], "size": 784},
    build=_build_dense_generator,
    events=lambda config: fixed_size(config["latent_dim"]),
    twin=reference_twin("DenseGenerator"),
    family=GENERATOR,
    event_ndims=1,
)

DENSE_DISCRIMINATOR: Model = network(
    dense_discriminator_lines,
    _dense_discriminator_sizes,
    full_size={"size": 784, "hidden": [512, 256]},
    build=_build_dense_discriminator,
    events=lambda config: fixed_size(config["size"]),
    twin=reference_twin("DenseDiscriminator"),
    event_ndims=1,
)
