"""A network that halves and doubles images, in PyTorch and in Flax, built from the conventions of either side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import torch

from benchmarks.conventions.layers import ACTIVATIONS, PIXELS, Conv, ConvTranspose, Norm, sampled
from benchmarks.conventions.torch_parts import activation, random_statistics

SHUFFLES = {"channel, row, column": (3, 4, 5), "row, column, channel": (5, 3, 4), "channel, column, row": (3, 5, 4)}
"""Where the channel, the row and the column stand among the axes of the split channels, from 3 on."""


@dataclass(frozen=True)
class Unet:
    """The conventions; the PyTorch network takes those of the first part only."""

    act: str = "silu"
    eps: float = 1e-5
    groups: int = 4
    up: str = "half_pixel"
    down: str = "linear"
    width: int = 8

    eps_outside: bool = False
    unbiased: bool = False
    spread: bool = False
    pixels: bool = False
    antialias: bool = False
    shuffle: str = "channel, row, column"
    cat: str = "up first"
    kernel: str = "as it is"
    transposed_pads: Any = ((1, 2), (1, 2))
    residual: float = 1.0
    residual_total: float = 1.0

    def torch(self) -> torch.nn.Module:
        """Return the PyTorch network."""
        return TorchUnet(self)

    def flax(self) -> nn.Module:
        """Return the Flax network."""
        return FlaxUnet(self)


class TorchUnet(torch.nn.Module):
    """Resized to half, doubled by a transposed convolution, joined, resized, and shuffled into more pixels."""

    def __init__(self, c: Unet) -> None:
        super().__init__()
        w = c.width
        self.inner = torch.nn.Conv2d(3, w, 3, padding=1)
        self.norm1 = torch.nn.GroupNorm(c.groups, w, eps=c.eps)
        self.act1 = activation(c.act)
        self.down = torch.nn.Upsample(
            scale_factor=0.5, mode={"linear": "bilinear", "cubic": "bicubic"}.get(c.down, c.down)
        )
        self.middle = torch.nn.Conv2d(w, w, 3, padding=1)
        self.norm2 = torch.nn.GroupNorm(c.groups, w, eps=c.eps)
        self.act2 = activation(c.act)
        self.up = torch.nn.ConvTranspose2d(w, w, 3, stride=2, padding=1, output_padding=1)
        self.joined = torch.nn.Conv2d(2 * w, w, 3, padding=1)
        self.act3 = activation(c.act)
        self.wider = torch.nn.Upsample(scale_factor=2, mode="bilinear", align_corners=c.up == "align_corners")
        self.outer = torch.nn.Conv2d(w, 12, 3, padding=1)
        self.shuffle = torch.nn.PixelShuffle(2)
        self.final = torch.nn.Conv2d(3, 3, 1)
        random_statistics(self)

    def forward(self, x: Any) -> Any:
        """(N, 3, 8, 8) → (N, 3, 32, 32)."""
        skip = self.act1(self.norm1(self.inner(x)))
        x = self.down(skip)
        x = x + self.act2(self.norm2(self.middle(x)))
        x = self.act3(self.joined(torch.cat([self.up(x), skip], 1)))
        return self.final(self.shuffle(self.outer(self.wider(x))))


class FlaxUnet(nn.Module):
    """The same network."""

    c: Unet

    @nn.compact
    def __call__(self, x: Any) -> Any:
        """(N, 8, 8, 3) → (N, 32, 32, 3)."""
        c = self.c
        act = ACTIVATIONS[c.act]

        def norm(name: str) -> Norm:
            return Norm(c.eps, c.eps_outside, True, c.unbiased, c.groups, spread=c.spread, pixels=c.pixels, name=name)

        skip = act(norm("norm1")(Conv(c.width, 3, name="inner")(x)))
        x = halved(skip, c.down, c.antialias)
        x = (x + act(norm("norm2")(Conv(c.width, 3, name="middle")(x))) * c.residual) * c.residual_total
        x = ConvTranspose(c.width, c.transposed_pads, c.kernel, name="up")(x)
        x = jnp.concatenate([x, skip] if c.cat == "up first" else [skip, x], -1)
        x = act(Conv(c.width, 3, name="joined")(x))
        x = sampled(x, (2 * x.shape[1], 2 * x.shape[2]), PIXELS[c.up])
        return Conv(3, 1, pads=0, name="final")(shuffled(Conv(12, 3, name="outer")(x), c.shuffle))


def halved(x: Any, method: str, antialias: bool) -> Any:
    """Resize to half; nearest takes the pixels 0, 2, 4, …, as PyTorch does."""
    n, height, width, channels = x.shape
    if method == "nearest":
        return x[:, ::2, ::2]
    # PyTorch's own cubic kernel, with a = −0.75, is not among those of JAX.
    name = {"nearest of the centres": "nearest"}.get(method, method.partition(",")[0])
    return jax.image.resize(x, (n, height // 2, width // 2, channels), name, antialias=antialias)


def shuffled(x: Any, order: str) -> Any:
    """(N, H, W, 4 C) → (N, 2 H, 2 W, C)."""
    n, height, width, channels = x.shape
    c, row, column = SHUFFLES[order]
    sizes = {c: channels // 4, row: 2, column: 2}
    x = x.reshape(n, height, width, *(sizes[axis] for axis in (3, 4, 5)))
    return x.transpose(0, 1, row, 2, column, c).reshape(n, 2 * height, 2 * width, channels // 4)
