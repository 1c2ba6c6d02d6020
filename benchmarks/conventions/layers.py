"""Flax layers in which one convention can be another than PyTorch's."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

ACTIVATIONS: dict[str, Callable[[Any], Any]] = {
    "relu": nn.relu,
    "relu6": nn.relu6,
    "gelu": lambda x: nn.gelu(x, approximate=False),
    "gelu_tanh": nn.gelu,
    "quick_gelu": lambda x: x * nn.sigmoid(1.702 * x),
    "silu": nn.silu,
    "mish": lambda x: x * jnp.tanh(nn.softplus(x)),
    "hard_swish": nn.hard_swish,
    "leaky 0.01": nn.leaky_relu,
    "leaky 0.2": lambda x: nn.leaky_relu(x, 0.2),
    "leaky 0.15": lambda x: nn.leaky_relu(x, 0.15),
    "elu": nn.elu,
    "tanh": jnp.tanh,
    "none": lambda x: x,
}
KERNELS: dict[str, Callable[[Any], Any]] = {
    "as it is": lambda w: w,
    "flipped": lambda w: w[::-1, ::-1],
    "height and width exchanged": lambda w: w.transpose(1, 0, 2, 3),
}
DIMENSIONS = ("NHWC", "HWIO", "NHWC")


class Conv(nn.Module):
    """A convolution of images; `pads` as `lax` takes them, `mode` and `kernel` as a port may have them."""

    features: int
    size: int
    stride: int = 1
    pads: Any = 1
    groups: int = 1
    mode: str = "constant"
    kernel: str = "as it is"
    spread: bool = False
    use_bias: bool = True

    @nn.compact
    def __call__(self, x: Any) -> Any:
        """(N, H, W, C) → (N, H', W', features)."""
        shape = (self.size, self.size, x.shape[-1] // self.groups, self.features)
        weight = KERNELS[self.kernel](self.param("kernel", nn.initializers.lecun_normal(), shape))
        pads = [(self.pads, self.pads)] * 2 if isinstance(self.pads, int) else self.pads
        if self.mode != "constant":
            x, pads = jnp.pad(x, [(0, 0), *pads, (0, 0)], self.mode), "VALID"
        if self.spread:
            order = jnp.arange(self.features).reshape(-1, self.groups).T.ravel()
            weight = weight[..., order]
        y = jax.lax.conv_general_dilated(
            x, weight, (self.stride,) * 2, pads, dimension_numbers=DIMENSIONS, feature_group_count=self.groups
        )
        return y + self.param("bias", nn.initializers.zeros, (self.features,)) if self.use_bias else y


class ConvTranspose(nn.Module):
    """A transposed convolution with stride 2 and kernel 3; `pads` are those of `lax.conv_transpose`."""

    features: int
    pads: Any = ((1, 2), (1, 2))
    kernel: str = "as it is"

    @nn.compact
    def __call__(self, x: Any) -> Any:
        """(N, H, W, C) → (N, 2 H, 2 W, features)."""
        shape = (3, 3, x.shape[-1], self.features)
        weight = KERNELS[self.kernel](self.param("kernel", nn.initializers.lecun_normal(), shape))
        y = jax.lax.conv_transpose(x, weight, (2, 2), self.pads, dimension_numbers=DIMENSIONS)
        return y + self.param("bias", nn.initializers.zeros, (self.features,))


class BatchNorm(nn.Module):
    """Batch normalisation in eval mode: y = (x − mean) / √(var + ε) · scale + bias."""

    eps: float = 1e-5
    eps_outside: bool = False
    statistics: str = "running"

    @nn.compact
    def __call__(self, x: Any) -> Any:
        """(N, …, C) → (N, …, C)."""
        shape = (x.shape[-1],)
        mean = self.variable("batch_stats", "mean", jnp.zeros, shape).value
        var = self.variable("batch_stats", "var", jnp.ones, shape).value
        if self.statistics == "batch":
            axes = tuple(range(x.ndim - 1))
            mean, var = x.mean(axes), x.var(axes)
        if self.statistics == "deviation":
            y = (x - mean) / (var + self.eps)
        else:
            y = (x - mean) / (jnp.sqrt(var) + self.eps if self.eps_outside else jnp.sqrt(var + self.eps))
        scale = self.param("scale", nn.initializers.ones, shape)
        return y * scale + self.param("bias", nn.initializers.zeros, shape)


class Norm(nn.Module):
    """Layer, group and RMS normalisation; of `groups` None normalises the last axis alone."""

    eps: float = 1e-5
    eps_outside: bool = False
    centred: bool = True
    unbiased: bool = False
    groups: int | None = None
    spread: bool = False
    pixels: bool = False
    one_plus: bool = False
    shifted: bool = True

    @nn.compact
    def __call__(self, x: Any) -> Any:
        """(N, …, C) → (N, …, C)."""
        channels = x.shape[-1]
        values, axes = x, (-1,)
        if self.groups is not None:
            split = (channels // self.groups, self.groups) if self.spread else (self.groups, channels // self.groups)
            values = x.reshape(*x.shape[:-1], *split)
            inner = values.ndim - 2 if self.spread else values.ndim - 1
            axes = (inner,) if self.pixels else (*range(1, values.ndim - 2), inner)
        mean = values.mean(axes, keepdims=True) if self.centred else jnp.zeros_like(values, shape=())
        count = math.prod(values.shape[axis] for axis in axes)
        var = jnp.square(values - mean).sum(axes, keepdims=True) / (count - 1 if self.unbiased else count)
        root = jnp.sqrt(var) + self.eps if self.eps_outside else jnp.sqrt(var + self.eps)
        y = ((values - mean) / root).reshape(x.shape)
        scale = self.param("scale", nn.initializers.ones, (channels,))
        y = y * (1 + scale if self.one_plus else scale)
        return y + self.param("bias", nn.initializers.zeros, (channels,)) if self.shifted else y


def pooled(x: Any, kind: str, *, pads: Any = ((1, 1), (1, 1)), counted: bool = True, zeros: bool = False) -> Any:
    """Pool windows of 3 × 3 with stride 2."""
    window, strides = (3, 3), (2, 2)
    if kind == "avg":
        total = nn.pool(x, 0.0, jax.lax.add, window, strides, pads)
        count = 9.0 if counted else nn.pool(jnp.ones_like(x), 0.0, jax.lax.add, window, strides, pads)
        return total / count
    if zeros:
        return nn.max_pool(jnp.pad(x, [(0, 0), *pads, (0, 0)]), window, strides)
    return nn.max_pool(x, window, strides, pads)


def sampled(x: Any, size: Sequence[int], at: Callable[[Any, int, int], Any]) -> Any:
    """Resize (N, H, W, C) linearly; at(i, input size, output size) is where an output pixel lies, edges repeated."""
    for axis, out in enumerate(size, start=1):
        n = x.shape[axis]
        place = jnp.clip(at(jnp.arange(out, dtype=x.dtype), n, out), 0, n - 1)
        low = jnp.clip(jnp.floor(place).astype(int), 0, n - 1)
        share = (place - low.astype(x.dtype)).reshape(*(out if k == axis else 1 for k in range(x.ndim)))
        high = jnp.clip(low + 1, 0, n - 1)
        x = jnp.take(x, low, axis) * (1 - share) + jnp.take(x, high, axis) * share
    return x


def half_pixel(i: Any, n: int, out: int) -> Any:
    """(i + 1/2) n / out − 1/2."""
    return (i + 0.5) * (n / out) - 0.5


def align_corners(i: Any, n: int, out: int) -> Any:
    """I (n − 1) / (out − 1)."""
    return i * ((n - 1) / (out - 1))


def asymmetric(i: Any, n: int, out: int) -> Any:
    """I n / out."""
    return i * (n / out)


PIXELS = {"half_pixel": half_pixel, "align_corners": align_corners, "asymmetric": asymmetric}
