"""LeNet for 32 × 32 color images."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from mathdnn_jax.nets import Conv, Dense, Flatten, MaxPool, Relu, Sequential
from parity.models.family import fixed_size
from parity.models.layers import Line, convolution, dense, dense_after_image
from parity.models.model import Config, Model
from parity.models.sequential import network
from parity.models.sizes import Read, Shapes, read_sizes

if TYPE_CHECKING:
    from parity.reference import LeNet

SIZES = (
    Read("channels", [("conv1.weight", 0), ("conv1.bias", 0), ("conv2.weight", 1)]),
    Read("classes", [("fc3.weight", 0), ("fc3.bias", 0)]),
)


def lines(config: Config) -> list[Line]:
    """List two convolutions and three linear layers, the first of which sees a flattened 5 × 5 image."""
    del config
    first = dense_after_image("fc1", 16)
    return [convolution("conv1"), convolution("conv2"), first, dense("fc2"), dense("fc3")]


def sizes(shapes: Shapes, names: Iterable[str]) -> Config:
    """Read the number of classes."""
    return {"classes": read_sizes("lenet", SIZES, shapes, names)["classes"]}


def build(classes: int) -> Sequential:
    """Build the JAX network."""
    return Sequential(
        conv1=Conv(6, 5),
        relu1=Relu(),
        pool1=MaxPool(2),
        conv2=Conv(16, 5),
        relu2=Relu(),
        pool2=MaxPool(2),
        flatten=Flatten(),
        fc1=Dense(120),
        relu3=Relu(),
        fc2=Dense(84),
        relu4=Relu(),
        fc3=Dense(classes),
    )


def twin(classes: int) -> LeNet:
    """Build the PyTorch module."""
    from parity.reference import LeNet

    return LeNet(classes)


LENET: Model = network(
    lines,
    sizes,
    full_size={"classes": 10},
    build=build,
    events=lambda _: fixed_size(32, 32, 3),
    twin=twin,
)
