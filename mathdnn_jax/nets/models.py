"""The convolutional networks of the course, as lists of layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from mathdnn_jax.nets.layers.activations import Activation, Dropout, Relu
from mathdnn_jax.nets.layers.batch_norm import BatchNorm
from mathdnn_jax.nets.layers.convolution import Conv
from mathdnn_jax.nets.layers.dense import Dense, Flatten
from mathdnn_jax.nets.layers.layer import Layer, Sizes
from mathdnn_jax.nets.layers.pooling import MaxPool
from mathdnn_jax.nets.sequential import Sequential


def small_net(
    *,
    channels: int = 16,
    hidden: int = 1024,
    classes: int = 10,
    batch_norm: bool = True,
    flatten: Literal["last", "first"] = "last",
) -> Sequential:
    """Two blocks conv 3×3, BN, ReLU; dense, BN, ReLU; dense, ReLU. Images (32, 32, 3) → (10,).

    Layers: `conv1_0`, `conv1_1` (BN), `conv1_2`; `conv2_0`, `conv2_1` (BN), `conv2_2`; `flatten`; `fc1_0`, `fc1_1`
    (BN), `fc1_2`; `fc2_0`, `fc2_1`. With batch_norm=False it is the same without BN, the ReLUs then being `conv1_1`,
    `conv2_1`, `fc1_1`. `flatten` is the order in which `fc1_0`'s kernel has its rows, see `Flatten`.

    Source: seeds 001 P1 and 004 P3.
    """

    def block(name: str, layer: Layer) -> list[tuple[str, Layer]]:
        parts: list[Layer] = [layer, BatchNorm(), Relu()] if batch_norm else [layer, Relu()]
        return [(f"{name}_{k}", part) for k, part in enumerate(parts)]

    return Sequential(
        layers=[
            *block("conv1", Conv(channels, 3, padding=1)),
            *block("conv2", Conv(channels, 3, padding=1)),
            ("flatten", Flatten(flatten)),
            *block("fc1", Dense(hidden)),
            ("fc2_0", Dense(classes)),
            ("fc2_1", Relu()),
        ]
    )


def net1(
    *,
    channels: Sequence[int] = (64, 192, 384, 256, 256),
    hidden: int = 4096,
    classes: int = 10,
    flatten: Literal["last", "first"] = "last",
) -> Sequential:
    """Convolutions 7×7, then 3×3, with ReLU between them; then three dense layers. Images (32, 32, 3) → (10,).

    Layers: `features_0`, `features_2`, … the convolutions, `flatten`, `classifier_0`, `classifier_2`, `classifier_4`
    the dense layers, each two of them with a ReLU between.

    Source: seed 000 Q2.
    """
    head: list[Layer] = [Dense(hidden), Relu(), Dense(hidden), Relu(), Dense(classes)]
    return Sequential(layers=[*_features(channels), ("flatten", Flatten(flatten)), *_numbered("classifier", head)])


def net2(
    *,
    channels: Sequence[int] = (64, 192, 384, 256, 256),
    hidden: int = 4096,
    classes: int = 10,
    head_size: Sizes = 18,
) -> Sequential:
    """`net1` with convolutions for dense layers: `head_size`, then 1×1 twice. Images (H, W, 3) → (H − 31, W − 31, 10).

    Layers have the names of `net1`'s, without `flatten`. The output at (i, j) is net1's of the patch [i:i+32, j:j+32];
    `mathdnn_jax.dense_to_conv` turns net1's variables into these.

    Source: seeds 000 Q2 and 004 P5.
    """
    head: list[Layer] = [Conv(hidden, head_size), Relu(), Conv(hidden, 1), Relu(), Conv(classes, 1)]
    return Sequential(layers=[*_features(channels), *_numbered("classifier", head)])


def alexnet(*, classes: int = 1000) -> Sequential:
    """AlexNet for one device, as torchvision has it. Images (224, 224, 3) → (1000,).

    Layers are numbered as torchvision's: `features_0` to `features_12`, `flatten`, `classifier_0` to `classifier_6`.

    Source: seed 004 P2; Krizhevsky, "One weird trick for parallelizing convolutional neural networks", 2014.
    """
    features: list[Layer] = [
        *(Conv(64, 11, stride=4, padding=2), Relu(), MaxPool(3, 2)),
        *(Conv(192, 5, padding=2), Relu(), MaxPool(3, 2)),
        *(Conv(384, 3, padding=1), Relu()),
        *(Conv(256, 3, padding=1), Relu()),
        *(Conv(256, 3, padding=1), Relu(), MaxPool(3, 2)),
    ]
    head: list[Layer] = [Dropout(), Dense(4096), Relu(), Dropout(), Dense(4096), Relu(), Dense(classes)]
    return Sequential(layers=[*_numbered("features", features), ("flatten", Flatten()), *_numbered("classifier", head)])


def conv_relu_bn(features: int, kernel_size: Sizes = 3, *, activation: Activation | None = None) -> Sequential:
    """A convolution, an activation (ReLU by default), *then* batch norm. Layers: `conv`, `activation`, `bn`.

    Source: seed 000 Q1.
    """
    return Sequential(conv=Conv(features, kernel_size), activation=activation or Relu(), bn=BatchNorm())


def _features(channels: Sequence[int]) -> list[tuple[str, Layer]]:
    layers: list[Layer] = []
    for k, width in enumerate(channels):
        layers += [Conv(width, 3 if k else 7), Relu()]
    return _numbered("features", layers[:-1])


def _numbered(prefix: str, layers: Sequence[Layer]) -> list[tuple[str, Layer]]:
    return [(f"{prefix}_{k}", layer) for k, layer in enumerate(layers)]
