"""torchvision's ResNet-18, VGG-11-BN, MobileNetV3-small and ConvNeXt, as Flax writes them.

With `folded` a twin has no batch norms, and biases in the layers before them. VGG is a `Sequential` too.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from mathdnn_jax.nets import BatchNorm, Conv, Dense, Dropout, Flatten, Layer, MaxPool, Relu, Sequential, Upsample

max_pool: Any = nn.max_pool
Norm = partial(nn.BatchNorm, use_running_average=True, epsilon=1e-5)
VGG = (64, "M", 128, "M", 256, 256, "M", 512, 512, "M", 512, 512, "M")


def conv(features: int, kernel: int, stride: int = 1, *, groups: int = 1, bias: bool = False, name: str) -> nn.Conv:
    pad = (kernel - 1) // 2
    return nn.Conv(
        features, (kernel, kernel), stride, [(pad, pad)] * 2, feature_group_count=groups, use_bias=bias, name=name
    )


def norm(folded: bool, name: str, epsilon: float = 1e-5) -> Any:
    return (lambda x: x) if folded else Norm(epsilon=epsilon, name=name)


class BasicBlock(nn.Module):
    features: int
    stride: int
    folded: bool

    @nn.compact
    def __call__(self, x: Any) -> Any:
        layer = partial(conv, bias=self.folded)
        y = nn.relu(norm(self.folded, "bn1")(layer(self.features, 3, self.stride, name="conv1")(x)))
        y = norm(self.folded, "bn2")(layer(self.features, 3, name="conv2")(y))
        if self.stride != 1 or x.shape[-1] != self.features:
            x = layer(self.features, 1, self.stride, name="downsample_0")(x)
            x = norm(self.folded, "downsample_1")(x)
        return nn.relu(x + y)


class ResNet18(nn.Module):
    classes: int
    folded: bool = False

    @nn.compact
    def __call__(self, x: Any) -> Any:
        x = nn.relu(norm(self.folded, "bn1")(conv(64, 7, 2, bias=self.folded, name="conv1")(x)))
        x = max_pool(x, (3, 3), (2, 2), ((1, 1), (1, 1)))
        for k, features in enumerate((64, 128, 256, 512)):
            for j in range(2):
                x = BasicBlock(features, 2 if k and not j else 1, self.folded, name=f"layer{k + 1}_{j}")(x)
        return nn.Dense(self.classes, name="fc")(x.mean((1, 2)))


class VGG11(nn.Module):
    """Flax's own names, so that only the order of computation pairs the layers of one shape."""

    hidden: int
    classes: int

    @nn.compact
    def __call__(self, x: Any) -> Any:
        for size in VGG:
            x = max_pool(x, (2, 2), (2, 2)) if isinstance(size, str) else nn.relu(Norm()(nn.Conv(size, (3, 3))(x)))
        x = adaptive_mean(x, 7).reshape(len(x), -1)
        x = nn.relu(nn.Dense(self.hidden)(x))
        x = nn.relu(nn.Dense(self.hidden)(x))
        return nn.Dense(self.classes)(x)


def vgg_11(hidden: int, classes: int) -> Sequential:
    """The same for images of 32 x 32, whose one last pixel adaptive pooling repeats."""
    layers: list[Layer] = []
    for size in VGG:
        layers += [MaxPool(2)] if isinstance(size, str) else [Conv(size, 3, padding=1), BatchNorm(), Relu()]
    layers += [Upsample(7), Flatten(), *[Dense(hidden), Relu(), Dropout()] * 2, Dense(classes)]
    return Sequential(layers=[(f"layer_{k}", layer) for k, layer in enumerate(layers)])


def adaptive_mean(x: Any, size: int) -> Any:
    """`torch.nn.AdaptiveAvgPool2d`: cell i is the mean over ⌊i n/size⌋ … ⌈(i + 1) n/size⌉ − 1."""

    def weights(n: int) -> Any:
        table = np.zeros((size, n))
        for i in range(size):
            first, last = i * n // size, -(-(i + 1) * n // size)
            table[i, first:last] = 1 / (last - first)
        return jnp.asarray(table, x.dtype)

    return jnp.einsum("ih,nhwc,jw->nijc", weights(x.shape[1]), x, weights(x.shape[2]))


class MobileNetV3Small(nn.Module):
    classes: int
    folded: bool = False

    @nn.compact
    def __call__(self, x: Any) -> Any:
        def unit(x: Any, features: int, kernel: int, stride: int, groups: int, act: Any, name: str) -> Any:
            x = conv(features, kernel, stride, groups=groups, bias=self.folded, name=f"{name}_0")(x)
            return act(norm(self.folded, f"{name}_1", 1e-3)(x))

        x = unit(x, 16, 3, 2, 1, nn.hard_swish, "features_0")
        for k, (kernel, wide, squeeze, features, excite, hard, stride) in enumerate(MOBILE, start=1):
            name, y, act = f"features_{k}_block", x, nn.hard_swish if hard else nn.relu
            start = 0
            if wide != x.shape[-1]:
                y, start = unit(y, wide, 1, 1, 1, act, f"{name}_0"), 1
            y = unit(y, wide, kernel, stride, wide, act, f"{name}_{start}")
            if excite:
                z = nn.relu(conv(squeeze, 1, bias=True, name=f"{name}_{start + 1}_fc1")(y.mean((1, 2), keepdims=True)))
                y = y * nn.hard_sigmoid(conv(wide, 1, bias=True, name=f"{name}_{start + 1}_fc2")(z))
            y = unit(y, features, 1, 1, 1, lambda a: a, f"{name}_{start + 1 + excite}")
            x = x + y if stride == 1 and x.shape == y.shape else y
        x = unit(x, 576, 1, 1, 1, nn.hard_swish, "features_12").mean((1, 2))
        x = nn.hard_swish(nn.Dense(1024, name="classifier_0")(x))
        return nn.Dense(self.classes, name="classifier_3")(x)


MOBILE = (
    (3, 16, 8, 16, True, False, 2), (3, 72, 0, 24, False, False, 2), (3, 88, 0, 24, False, False, 1),
    (5, 96, 24, 40, True, True, 2), (5, 240, 64, 40, True, True, 1), (5, 240, 64, 40, True, True, 1),
    (5, 120, 32, 48, True, True, 1), (5, 144, 40, 48, True, True, 1), (5, 288, 72, 96, True, True, 2),
    (5, 576, 144, 96, True, True, 1), (5, 576, 144, 96, True, True, 1),
)  # fmt: skip
"""Kernel, widened channels, channels squeezed to, output channels, whether squeezed, whether hard-swish, stride."""


class ConvNeXt(nn.Module):
    widths: tuple[int, ...]
    depths: tuple[int, ...]
    classes: int

    @nn.compact
    def __call__(self, x: Any) -> Any:
        norm = partial(nn.LayerNorm, epsilon=1e-6, use_fast_variance=False)
        x = nn.Conv(self.widths[0], (4, 4), 4, "VALID", name="features_0_0")(x)
        x = norm(name="features_0_1")(x)
        for k, (width, depth) in enumerate(zip(self.widths, self.depths, strict=True)):
            if k:
                x = norm(name=f"features_{2 * k}_0")(x)
                x = nn.Conv(width, (2, 2), 2, "VALID", name=f"features_{2 * k}_1")(x)
            for j in range(depth):
                name = f"features_{2 * k + 1}_{j}"
                y = conv(width, 7, groups=width, bias=True, name=f"{name}_block_0")(x)
                y = nn.Dense(4 * width, name=f"{name}_block_3")(norm(name=f"{name}_block_2")(y))
                y = nn.Dense(width, name=f"{name}_block_5")(nn.gelu(y, approximate=False))
                x = x + self.param(f"{name}_layer_scale", nn.initializers.ones, (width,)).astype(x.dtype) * y
        x = norm(name="classifier_0")(x.mean((1, 2)))
        return nn.Dense(self.classes, name="classifier_2")(x)


def shapes(network: nn.Module, x: Any) -> Any:
    return jax.eval_shape(network.init, jax.random.key(0), x)
