"""The convolutional networks of the course, as lists of layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from mathdnn_jax.nets.layers.activations import Activation, Dropout, Relu
from mathdnn_jax.nets.layers.batch_norm import BatchNorm
from mathdnn_jax.nets.layers.convolution import Conv
from mathdnn_jax.nets.layers.dense import Dense, Flatten
from mathdnn_jax.nets.layers.layer import Layer
from mathdnn_jax.nets.layers.pooling import MaxPool
from mathdnn_jax.nets.sequential import Sequential
from mathdnn_jax.nets.shapes import Sizes


def small_net(
    *,
    channels: int = 16,
    hidden: int = 1024,
    classes: int = 10,
    batch_norm: bool = True,
    flatten: Literal["last", "first"] = "last",
) -> Sequential:
    """Two blocks of conv 3×3, BN, ReLU, then dense, BN, ReLU, then dense, ReLU. Images (32, 32, 3) → (10,).

    The layers are `conv1_0`, `conv1_1` (BN), `conv1_2`; `conv2_0`, `conv2_1` (BN), `conv2_2`; `flatten`; `fc1_0`,
    `fc1_1` (BN), `fc1_2`; `fc2_0`, `fc2_1`.

    Args:
        channels: The channels of both convolutions.
        hidden: The width of the first dense layer.
        classes: The number of outputs.
        batch_norm: Whether to include the batch norms. Without them the first three ReLUs are named `conv1_1`,
            `conv2_1` and `fc1_1`.
        flatten: The order of the rows of `fc1_0`'s kernel, see `Flatten`.

    Source: course 001, P1; course 004, P3.

    Example:
        >>> import jax, jax.numpy as jnp, mathdnn_jax as mj
        >>> network = mj.small_net(channels=4, hidden=8)
        >>> x = jnp.zeros((2, 32, 32, 3), jnp.float32)
        >>> variables = network.init(jax.random.key(0), x)
        >>> network.apply(variables, x).shape
        (2, 10)
        >>> list(variables["params"])
        ['conv1_0', 'conv1_1', 'conv2_0', 'conv2_1', 'fc1_0', 'fc1_1', 'fc2_0']
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
    """A 7×7 convolution, 3×3 convolutions and three dense layers. Images (32, 32, 3) → (10,).

    The convolutions are `features_0`, `features_2`, …, then comes `flatten`, and the dense layers are `classifier_0`,
    `classifier_2` and `classifier_4`. A ReLU stands between any two convolutions and between any two dense layers.

    Args:
        channels: The channels of each convolution.
        hidden: The width of the first two dense layers.
        classes: The number of outputs.
        flatten: The order of the rows of `classifier_0`'s kernel, see `Flatten`.

    Source: course 000, Q2.

    Example:
        >>> import jax, jax.numpy as jnp, mathdnn_jax as mj
        >>> images = jax.ShapeDtypeStruct((5, 32, 32, 3), jnp.float32)
        >>> y, variables = jax.eval_shape(mj.net1().init_with_output, jax.random.key(0), images)
        >>> y.shape
        (5, 10)
        >>> variables["params"]["classifier_0"]["kernel"].shape
        (82944, 4096)
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
    """`net1` with convolutions instead of dense layers. Images (H, W, 3) → (H − 31, W − 31, 10).

    The first of these convolutions has a kernel of `head_size`, the other two have 1×1 kernels. The layers have the
    same names as in `net1`, without `flatten`. The output at (i, j) is that of `net1` for the patch [i:i+32, j:j+32];
    `mathdnn_jax.dense_to_conv` converts the variables of `net1`.

    Args:
        channels: The channels of each convolution before the head.
        hidden: The channels of the head's first two convolutions.
        classes: The number of outputs at each position.
        head_size: The kernel size of the head's first convolution.

    Source: course 000, Q2; course 004, P5.

    Example:
        >>> import jax, jax.numpy as jnp, mathdnn_jax as mj
        >>> images = jax.ShapeDtypeStruct((5, 36, 38, 3), jnp.float32)
        >>> y, variables = jax.eval_shape(mj.net2().init_with_output, jax.random.key(0), images)
        >>> y.shape
        (5, 5, 7, 10)
        >>> variables["params"]["classifier_0"]["kernel"].shape
        (18, 18, 256, 4096)
    """
    head: list[Layer] = [Conv(hidden, head_size), Relu(), Conv(hidden, 1), Relu(), Conv(classes, 1)]
    return Sequential(layers=[*_features(channels), *_numbered("classifier", head)])


def alexnet(*, classes: int = 1000) -> Sequential:
    """AlexNet for one device, as in torchvision. Images (224, 224, 3) → (1000,).

    The layers are numbered as in torchvision: `features_0` to `features_12`, `flatten`, `classifier_0` to
    `classifier_6`.

    Source: course 004, P2; Krizhevsky, "One weird trick for parallelizing convolutional neural networks", 2014.

    Example:
        >>> import jax, jax.numpy as jnp, mathdnn_jax as mj
        >>> images = jax.ShapeDtypeStruct((2, 224, 224, 3), jnp.float32)
        >>> y, variables = jax.eval_shape(mj.alexnet(classes=7).init_with_output, jax.random.key(0), images)
        >>> y.shape
        (2, 7)
        >>> variables["params"]["features_0"]["kernel"].shape
        (11, 11, 3, 64)
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
    """A convolution, an activation (by default ReLU), *then* a batch norm. The layers are `conv`, `activation`, `bn`.

    Source: course 000, Q1.

    Example:
        >>> import mathdnn_jax as mj
        >>> network = mj.conv_relu_bn(8, kernel_size=5)
        >>> network.output_shapes((32, 32, 3))
        {'conv': (28, 28, 8), 'activation': (28, 28, 8), 'bn': (28, 28, 8)}
    """
    return Sequential(conv=Conv(features, kernel_size), activation=activation or Relu(), bn=BatchNorm())


def _features(channels: Sequence[int]) -> list[tuple[str, Layer]]:
    layers: list[Layer] = []
    for k, width in enumerate(channels):
        layers += [Conv(width, 3 if k else 7), Relu()]
    return _numbered("features", layers[:-1])


def _numbered(prefix: str, layers: Sequence[Layer]) -> list[tuple[str, Layer]]:
    return [(f"{prefix}_{k}", layer) for k, layer in enumerate(layers)]
