"""A convolutional network in PyTorch and in Flax, built from the conventions of either side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import torch

from benchmarks.conventions.layers import ACTIVATIONS, BatchNorm, Conv, pooled
from benchmarks.conventions.torch_parts import activation, random_statistics


@dataclass(frozen=True)
class Cnn:
    """The conventions; the PyTorch network takes those of the first part only."""

    first: str = "leaky 0.01"
    second: str = "relu6"
    third: str = "gelu"
    last: str = "hard_swish"
    eps: float = 1e-5
    counted: bool = True
    mode: str = "constant"
    pool: str = "avg"
    width: int = 8

    pads: Any = 1
    eps_outside: bool = False
    statistics: str = "running"
    kernel: str = "as it is"
    spread: bool = False
    order: str = "norm first"
    max_pads: Any = ((1, 1), (1, 1))
    zeros: bool = False
    flatten: str = "last"
    scale: float = 1.0
    shift: float = 0.0
    end: str = "none"

    def torch(self) -> torch.nn.Module:
        """Return the PyTorch network."""
        return TorchCnn(self)

    def flax(self) -> nn.Module:
        """Return the Flax network."""
        return FlaxCnn(self)


class TorchCnn(torch.nn.Module):
    """Two convolutions with batch norms, one with groups, poolings, and two dense layers; for images of 16 × 16."""

    def __init__(self, c: Cnn) -> None:
        super().__init__()
        w = c.width
        self.conv1 = torch.nn.Conv2d(3, w, 3, stride=2, padding=1)
        self.bn1 = torch.nn.BatchNorm2d(w, eps=c.eps)
        self.act1 = activation(c.first)
        average = torch.nn.AvgPool2d(3, 2, padding=1, count_include_pad=c.counted)
        self.pool1 = average if c.pool == "avg" else torch.nn.MaxPool2d(3, 2, padding=1)
        mode: Any = "zeros" if c.mode == "constant" else c.mode
        self.conv2 = torch.nn.Conv2d(w, w, 3, padding=1, padding_mode=mode)
        self.bn2 = torch.nn.BatchNorm2d(w, eps=c.eps)
        self.act2 = activation(c.second)
        self.grouped = torch.nn.Conv2d(w, 2 * w, 3, padding=1, groups=4)
        self.act3 = activation(c.third)
        self.pool2 = torch.nn.MaxPool2d(3, 2, padding=1)
        self.flatten = torch.nn.Flatten()
        self.fc1 = torch.nn.Linear(8 * w, 16)
        self.act4 = activation(c.last)
        self.fc2 = torch.nn.Linear(16, 10)
        random_statistics(self)

    def forward(self, x: Any) -> Any:
        """(N, 3, 16, 16) → (N, 10)."""
        x = self.pool1(self.act1(self.bn1(self.conv1(x))))
        x = self.act2(self.bn2(self.conv2(x)))
        x = self.pool2(self.act3(self.grouped(x)))
        return self.fc2(self.act4(self.fc1(self.flatten(x))))


class FlaxCnn(nn.Module):
    """The same network."""

    c: Cnn

    @nn.compact
    def __call__(self, x: Any) -> Any:
        """(N, 16, 16, 3) → (N, 10)."""
        c = self.c
        first, second, third, last = (ACTIVATIONS[name] for name in (c.first, c.second, c.third, c.last))
        bn1, bn2 = (BatchNorm(c.eps, c.eps_outside, c.statistics, name=name) for name in ("bn1", "bn2"))
        x = x * c.scale + c.shift
        x = first(bn1(Conv(c.width, 3, 2, c.pads, name="conv1")(x)))
        x = pooled(x, c.pool, counted=c.counted)
        x = Conv(c.width, 3, mode={"circular": "wrap"}.get(c.mode, c.mode), kernel=c.kernel, name="conv2")(x)
        x = second(bn2(x)) if c.order == "norm first" else bn2(second(x))
        x = third(Conv(2 * c.width, 3, groups=4, spread=c.spread, name="grouped")(x))
        x = pooled(x, "max", pads=c.max_pads, zeros=c.zeros)
        x = (x if c.flatten == "last" else x.transpose(0, 3, 1, 2)).reshape(len(x), -1)
        x = nn.Dense(10, name="fc2")(last(nn.Dense(16, name="fc1")(x)))
        return {"none": lambda y: y, "softmax": jax.nn.softmax, "sigmoid": jax.nn.sigmoid}[c.end](jnp.asarray(x))
