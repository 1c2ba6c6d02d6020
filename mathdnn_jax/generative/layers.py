"""The networks of the VAE and the GAN, as lists of layers."""

from __future__ import annotations

import math
from collections.abc import Sequence

from mathdnn_jax.errors import ConfigurationError
from mathdnn_jax.nets import (
    BatchNorm,
    Conv,
    ConvTranspose,
    Dense,
    Flatten,
    Layer,
    LeakyRelu,
    Relu,
    Sequential,
    Sigmoid,
    Tanh,
)

SLOPE = 0.2
"""The negative slope of the leaky ReLUs in discriminators; Radford, Metz, Chintala, 2015."""

OUTPUTS: dict[str, Layer | None] = {"sigmoid": Sigmoid(), "tanh": Tanh(), "none": None}


def dense_trunk(hidden: Sequence[int] = (400,)) -> Sequential:
    """Map events of any shape to features (hidden[-1],): flatten, then dense layers with a ReLU after each.

    Returns:
        The network with layers `flatten`, `dense_0`, `relu_0`, `dense_1`, … Without hidden layers the features are the
        flattened event.
    """
    return Sequential(layers=[("flatten", Flatten()), *_dense(hidden, Relu())])


def dense_decoder(size: int, hidden: Sequence[int] = (400,)) -> Sequential:
    """Map latents (k,) to (size,) by dense layers with ReLU between them; without hidden layers the map is affine.

    Returns:
        The network with layers `dense_0`, `relu_0`, …, `dense_{len(hidden)}`.
    """
    return Sequential(layers=[*_dense(hidden, Relu()), (f"dense_{len(hidden)}", Dense(size))])


def conv_trunk(channels: Sequence[int] = (32, 64)) -> Sequential:
    """Map images (H, W, C) to features: 4×4 convolutions with stride 2 and ReLU, each halving the image; then flatten.

    Returns:
        The network with layers `conv_0`, `relu_0`, …, `flatten`. By default, 28×28 becomes 14×14 and then 7×7.
    """
    layers: list[tuple[str, Layer]] = []
    for k, width in enumerate(channels):
        layers += [(f"conv_{k}", Conv(width, 4, stride=2, padding=1)), (f"relu_{k}", Relu())]
    return Sequential(layers=[*layers, ("flatten", Flatten())])


def conv_decoder(image_channels: int = 1, channels: Sequence[int] = (64, 32), side: int = 7) -> Sequential:
    """Map latents (k,), as images (1, 1, k), to images (side · 2^n, side · 2^n, image_channels), n = len(channels).

    One transposed convolution turns the pixel into side × side pixels, and 4×4 ones with stride 2 each double that,
    with ReLU between them.

    Returns:
        The network with layers `conv_0`, `relu_0`, …, `conv_n`.
    """
    layers: list[tuple[str, Layer]] = [("conv_0", ConvTranspose(channels[0], side)), ("relu_0", Relu())]
    for k, width in enumerate((*channels[1:], image_channels), start=1):
        layers += [(f"conv_{k}", ConvTranspose(width, 4, stride=2, padding=1)), (f"relu_{k}", Relu())]
    return Sequential(layers=layers[:-1])


def dense_generator(
    size: int, hidden: Sequence[int] = (256, 512), output: str = "sigmoid", *, batch_norm: bool = True
) -> Sequential:
    """Map latents (k,) to (size,) by dense layers, each but the last with batch norm and a leaky ReLU; then `output`.

    `output` is "sigmoid" for pixels in (0, 1), "tanh" for pixels in (−1, 1), or "none". Without batch norm the
    generator of a GAN soon collapses to a single image.

    Returns:
        The network with layers `dense_0`, `norm_0`, `relu_0`, …, `dense_{len(hidden)}`, `output`.

    Raises:
        ConfigurationError: the output is unknown.
    """
    layers: list[tuple[str, Layer]] = []
    for k, width in enumerate(hidden):
        norm: list[tuple[str, Layer]] = [(f"norm_{k}", BatchNorm())] if batch_norm else []
        layers += [(f"dense_{k}", Dense(width)), *norm, (f"relu_{k}", LeakyRelu(SLOPE))]
    return Sequential(layers=[*layers, (f"dense_{len(hidden)}", Dense(size)), *_last(output)])


def dense_discriminator(hidden: Sequence[int] = (512, 256)) -> Sequential:
    """Map events of any shape to one logit: flatten, then dense layers with a leaky ReLU between them.

    Returns:
        The network with layers `flatten`, `dense_0`, `relu_0`, …, `dense_{len(hidden)}`.
    """
    dense = _dense(hidden, LeakyRelu(SLOPE))
    return Sequential(layers=[("flatten", Flatten()), *dense, (f"dense_{len(hidden)}", Dense(1))])


def dcgan_generator(image_channels: int = 1, width: int = 64, output: str = "tanh") -> Sequential:
    """Map latents (k,), as images (1, 1, k), to 28 × 28 by four transposed convolutions, via 3, 6 and 13 pixels.

    The kernels have sides 3, 4, 3, 4 with strides 2, 1, 2, 2, and the hidden images 4, 2 and 1 times `width` channels.
    Each convolution but the last is followed by batch norm and ReLU, the last by `output`.

    Returns:
        The network with layers `gen_0_0` (transposed convolution), `gen_0_1` (batch norm), `gen_0_2` (ReLU), …,
        `gen_3_0`, `gen_3_1`.

    Raises:
        ConfigurationError: the output is unknown.

    Source: Radford, Metz, Chintala, "Unsupervised representation learning with deep convolutional generative
    adversarial networks", 2015; the sizes are those of the published generator of digits that the tests convert.
    """
    layers: list[tuple[str, Layer]] = []
    for k, (factor, kernel, stride) in enumerate(((4, 3, 2), (2, 4, 1), (1, 3, 2))):
        block = (ConvTranspose(factor * width, kernel, stride=stride), BatchNorm(), Relu())
        layers += [(f"gen_{k}_{j}", layer) for j, layer in enumerate(block)]
    layers.append(("gen_3_0", ConvTranspose(image_channels, 4, stride=2)))
    return Sequential(layers=[*layers, *_last(output, "gen_3_1")])


def dcgan_discriminator(width: int = 64) -> Sequential:
    """Map images 28 × 28 to one logit by three 4×4 convolutions with stride 2, via 13 and 5 pixels.

    The first two have `width` and 2 · `width` channels and a leaky ReLU; the second also has a batch norm before it.

    Returns:
        The network with layers `disc_0_0` (convolution), `disc_0_1` (leaky ReLU), `disc_1_0`, `disc_1_1` (batch norm),
        `disc_1_2`, `disc_2_0`.

    Source: as for `dcgan_generator`.
    """
    return Sequential(
        disc_0_0=Conv(width, 4, stride=2),
        disc_0_1=LeakyRelu(SLOPE),
        disc_1_0=Conv(2 * width, 4, stride=2),
        disc_1_1=BatchNorm(),
        disc_1_2=LeakyRelu(SLOPE),
        disc_2_0=Conv(1, 4, stride=2),
    )


def entries(shape: Sequence[int]) -> int:
    """The number of entries of an event of this shape."""
    return math.prod(shape)


def _dense(hidden: Sequence[int], activation: Layer) -> list[tuple[str, Layer]]:
    layers: list[tuple[str, Layer]] = []
    for k, width in enumerate(hidden):
        layers += [(f"dense_{k}", Dense(width)), (f"relu_{k}", activation)]
    return layers


def _last(output: str, name: str = "output") -> list[tuple[str, Layer]]:
    if output not in OUTPUTS:
        raise ConfigurationError(f"the output of a generator is one of {', '.join(OUTPUTS)}; given {output!r}")
    layer = OUTPUTS[output]
    return [] if layer is None else [(name, layer)]
