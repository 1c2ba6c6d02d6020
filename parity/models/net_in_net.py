"""Net1, which ends in linear layers, and Net2, which is the same network written with convolutions alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from mathdnn_jax.nets import Sequential
from mathdnn_jax.nets import net1 as jax_net1
from mathdnn_jax.nets import net2 as jax_net2
from parity.models.family import Events, fixed_size
from parity.models.layers import Line, convolution, dense, dense_after_image
from parity.models.model import Config
from parity.models.sequential import network
from parity.models.sizes import Read, Shapes, read_sizes, wrong_model

if TYPE_CHECKING:
    from parity.reference import Net1, Net2

FULL_SIZE: Config = {
    "channels": [64, 192, 384, 256, 256],
    "hidden": 4096,
    "classes": 10,
    "image": 32,
    "in_channels": 3,
}
SHRINKAGE = 14
"""How much smaller the features are than the image along either axis, after one 7 × 7 and four 3 × 3 kernels."""

CONVOLUTIONS = tuple(f"features.{2 * k}" for k in range(5))
SIZES = (
    *(Read(module, [(f"{module}.weight", 0), (f"{module}.bias", 0)]) for module in CONVOLUTIONS),
    Read("hidden", [("classifier.0.weight", 0), ("classifier.2.weight", 0), ("classifier.2.weight", 1)]),
    Read("classes", [("classifier.4.weight", 0), ("classifier.4.bias", 0)]),
    Read("in_channels", [("features.0.weight", 1)]),
)


def net1_lines(config: Config) -> list[Line]:
    """List convolutions, then linear layers."""
    first = dense_after_image("classifier.0", config["channels"][-1])
    return [*_features(), *_head([first, dense("classifier.2"), dense("classifier.4")])]


def net2_lines(config: Config) -> list[Line]:
    """List convolutions alone."""
    del config
    return [*_features(), *_head([convolution(f"classifier.{k}") for k in (0, 2, 4)])]


def net1_sizes(shapes: Shapes, names: Iterable[str]) -> Config:
    """Read the widths, and the side of the square images that the first linear layer takes."""
    config = _sizes("net1", shapes, names, rank=2)
    pixels = shapes["classifier.0.weight"][1] / config["channels"][-1]
    return {**config, "image": SHRINKAGE + max(1, round(pixels**0.5))}


def net2_sizes(shapes: Shapes, names: Iterable[str]) -> Config:
    """Read the widths, and the side of the image that one output sees."""
    config = _sizes("net2", shapes, names, rank=4)
    return {**config, "image": SHRINKAGE + shapes["classifier.0.weight"][2]}


def net1_events(config: Config) -> Events:
    """Return square images of one size."""
    return fixed_size(config["image"], config["image"], config["in_channels"])


def net2_events(config: Config) -> Events:
    """Return images of that size or larger; drawn ones are a little wider than high, so that the network slides."""
    side, channels = config["image"], config["in_channels"]
    return Events((None, None, channels), (side, side, channels), (side + 1, side + 2, channels))


def build_net1(channels: Sequence[int], hidden: int, classes: int, **_: int) -> Sequential:
    """Build the JAX network."""
    return jax_net1(channels=channels, hidden=hidden, classes=classes)


def build_net2(channels: Sequence[int], hidden: int, classes: int, image: int, **_: int) -> Sequential:
    """Build the JAX network."""
    return jax_net2(channels=channels, hidden=hidden, classes=classes, head_size=image - SHRINKAGE)


def twin_net1(classes: int, **config: Any) -> Net1:
    """Build the PyTorch module."""
    from parity.reference import Net1

    return Net1(classes, **config)


def twin_net2(classes: int, **config: Any) -> Net2:
    """Build the PyTorch module."""
    from parity.reference import Net2

    return Net2(classes, **config)


def _features() -> list[Line]:
    table = []
    for k, module in enumerate(CONVOLUTIONS):
        table.append(convolution(module))
        if k < len(CONVOLUTIONS) - 1:
            table.append(Line(f"features.{2 * k + 1}"))
    return table


def _head(linear: Sequence[Line]) -> list[Line]:
    return [linear[0], Line("classifier.1"), linear[1], Line("classifier.3"), linear[2]]


def _sizes(model: str, shapes: Shapes, names: Iterable[str], rank: int) -> Config:
    names = list(names)
    config = read_sizes(model, SIZES, shapes, names)
    head = shapes.get("classifier.0.weight", ())
    if len(head) != rank:
        other = "'net2', whose head is convolutions" if rank == 2 else "'net1', whose head is linear layers"
        raise wrong_model(
            f"{model} has a classifier.0.weight with {rank} axes, got shape {head}; or take {other}", names
        )
    return {"channels": [config.pop(module) for module in CONVOLUTIONS], **config}


NET1 = network(net1_lines, net1_sizes, full_size=FULL_SIZE, build=build_net1, events=net1_events, twin=twin_net1)
NET2 = network(net2_lines, net2_sizes, full_size=FULL_SIZE, build=build_net2, events=net2_events, twin=twin_net2)
