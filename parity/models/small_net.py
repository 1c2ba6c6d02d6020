"""smallNet, with batch norms (`smallNetSaved`) and without."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING

from mathdnn_jax.nets import Sequential
from mathdnn_jax.nets import small_net as jax_small_net
from parity.models.family import Events, fixed_size
from parity.models.layers import Line, batch_norm, convolution, dense, dense_after_image
from parity.models.model import Config, Model
from parity.models.sequential import network
from parity.models.sizes import Read, Shapes, read_sizes, wrong_model

if TYPE_CHECKING:
    from parity.reference import SmallNetTest, SmallNetTrain

FULL_SIZE = {"channels": 16, "hidden": 1024, "classes": 10, "image": 32, "in_channels": 3}
NORMED = ("conv1", "conv2", "fc1")
SIZES = (
    Read("channels", [("conv1.0.weight", 0), ("conv2.0.weight", 0), ("conv2.0.weight", 1), ("conv1.0.bias", 0)]),
    Read("hidden", [("fc1.0.weight", 0), ("fc2.0.weight", 1), ("fc1.0.bias", 0)]),
    Read("classes", [("fc2.0.weight", 0), ("fc2.0.bias", 0)]),
    Read("in_channels", [("conv1.0.weight", 1)]),
    Read("inputs", [("fc1.0.weight", 1)]),
)


def lines(config: Config, normed: bool) -> list[Line]:
    """List the convolutions, batch norms, linear layers and ReLUs, in the order of computation."""
    blocks = {
        "conv1": convolution("conv1.0"),
        "conv2": convolution("conv2.0"),
        "fc1": dense_after_image("fc1.0", config["channels"]),
        "fc2": dense("fc2.0"),
    }
    table = []
    for name, line in blocks.items():
        table.append(line)
        if normed and name in NORMED:
            table.append(batch_norm(f"{name}.1"))
        table.append(Line(f"{name}.{2 if normed and name in NORMED else 1}"))
    return table


def sizes(shapes: Shapes, names: Iterable[str], normed: bool) -> Config:
    """Read the widths, and the side of the square images that the first linear layer takes."""
    model = "small-net" if normed else "small-net-folded"
    names = list(names)
    config = read_sizes(model, SIZES, shapes, names)
    if any(key.startswith(tuple(f"{name}.1." for name in NORMED)) for key in shapes) != normed:
        other = "'small-net-folded', since this has none" if normed else "'small-net', since this has them"
        raise wrong_model(
            f"{model} is smallNet {'with' if normed else 'without'} batch norms; take model {other}", names
        )
    pixels = config.pop("inputs") / config["channels"]
    return {**config, "image": max(1, round(pixels**0.5))}


def events(config: Config) -> Events:
    """Return square images of one size."""
    return fixed_size(config["image"], config["image"], config["in_channels"])


def build(normed: bool, channels: int, hidden: int, classes: int, **_: int) -> Sequential:
    """Build the JAX network."""
    return jax_small_net(channels=channels, hidden=hidden, classes=classes, batch_norm=normed)


def twin(normed: bool, **config: int) -> SmallNetTrain | SmallNetTest:
    """Build the PyTorch module."""
    from parity.reference import SmallNetTest, SmallNetTrain

    return SmallNetTrain(**config) if normed else SmallNetTest(**config)


def _model(normed: bool) -> Model:
    return network(
        partial(lines, normed=normed),
        partial(sizes, normed=normed),
        full_size=FULL_SIZE,
        build=partial(build, normed),
        events=events,
        twin=partial(twin, normed),
    )


WITH_BATCH_NORM = _model(True)
FOLDED = _model(False)
