"""RealNVP and Glow on images in PyTorch, with the parameters of the library's flows."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)
BOUND = 2.0
Pair = tuple[Tensor, Tensor]


class ConvNet(nn.Module):
    """The conditioner: 3 × 3, 1 × 1, …, 3 × 3 convolutions with ReLU between them."""

    def __init__(self, params: Mapping[str, Any]) -> None:
        super().__init__()
        self.layers = nn.ModuleList()
        for name in sorted(params):
            kernel = np.array(params[name]["kernel"]).transpose(3, 2, 0, 1).copy()
            layer = nn.Conv2d(kernel.shape[1], kernel.shape[0], kernel.shape[2], padding=kernel.shape[2] // 2)
            layer.weight.data, layer.bias.data = (  # type: ignore[union-attr]
                torch.from_numpy(kernel),
                torch.from_numpy(np.array(params[name]["bias"])),
            )
            self.layers.append(layer)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) → (N, outputs, H, W)."""
        for k, layer in enumerate(self.layers):
            x = layer(x if k == 0 else functional.relu(x))
        return x


class Coupling(nn.Module):
    """An affine coupling. With a checkerboard (N, C, H, W), the network sees the masked image; otherwise half of it."""

    mask: Tensor | None

    def __init__(self, params: Mapping[str, Any], mask: Tensor | None, kept: int = 0) -> None:
        super().__init__()
        self.network, self.kept = ConvNet(params), kept
        self.register_buffer("mask", mask)

    def forward(self, x: Tensor) -> Pair:
        """x → (z, log_det (N,))."""
        if self.mask is not None:
            s, t = self.network(x * self.mask).chunk(2, 1)
            s = BOUND * torch.tanh(s / BOUND) * (1 - self.mask)
            return x * torch.exp(s) + t * (1 - self.mask), s.sum((1, 2, 3))
        halves = list(x.chunk(2, 1))
        s, t = self.network(halves[self.kept]).chunk(2, 1)
        s = BOUND * torch.tanh(s / BOUND)
        halves[1 - self.kept] = halves[1 - self.kept] * torch.exp(s) + t
        return torch.cat(halves, 1), s.sum((1, 2, 3))

    def inverse(self, z: Tensor) -> Tensor:
        """z → x."""
        if self.mask is not None:
            s, t = self.network(z * self.mask).chunk(2, 1)
            s = BOUND * torch.tanh(s / BOUND) * (1 - self.mask)
            x: Tensor = (z - t * (1 - self.mask)) * torch.exp(-s)
            return x
        halves = list(z.chunk(2, 1))
        s, t = self.network(halves[self.kept]).chunk(2, 1)
        s = BOUND * torch.tanh(s / BOUND)
        halves[1 - self.kept] = (halves[1 - self.kept] - t) * torch.exp(-s)
        return torch.cat(halves, 1)


class Mixing(nn.Module):
    """Glow's actnorm and its 1 × 1 convolution with PLU factors; the permutation reverses the channels."""

    def __init__(self, actnorm: Mapping[str, Any], plu: Mapping[str, Any]) -> None:
        super().__init__()
        named = {**actnorm, **plu}
        self.values = nn.ParameterDict({name: torch.from_numpy(np.array(value)) for name, value in named.items()})

    def factors(self) -> Pair:
        """Return the lower factor, with ones on its diagonal, and the upper factor."""
        values = self.values
        eye = torch.eye(len(values["diagonal"]), device=values["diagonal"].device)
        return values["lower"].tril(-1) + eye, values["upper"].triu(1) + torch.diag(values["diagonal"])

    def forward(self, x: Tensor) -> Pair:
        """x → (z, log_det (N,))."""
        values = self.values
        lower, upper = self.factors()
        matrix = lower @ upper
        x = torch.exp(values["log_scale"])[:, None, None] * (x + values["bias"][:, None, None])
        log_det = values["log_scale"].sum() + values["diagonal"].abs().log().sum()
        return functional.conv2d(x, matrix.flip(0)[:, :, None, None]), (x.shape[2] * x.shape[3] * log_det).expand(
            len(x)
        )

    def inverse(self, z: Tensor) -> Tensor:
        """z → x, by solving with the two triangular factors."""
        values = self.values
        lower, upper = self.factors()
        rows = z.flip(1).flatten(2)
        rows = torch.linalg.solve_triangular(lower, rows, upper=False, unitriangular=True)
        rows = torch.linalg.solve_triangular(upper, rows, upper=True)
        scale, bias = torch.exp(-values["log_scale"])[:, None, None], values["bias"][:, None, None]
        x: Tensor = rows.reshape(z.shape) * scale - bias
        return x


class Prior(nn.Module):
    """Glow's learnt prior of the channels that leave: z = exp(−s(h)) (x_out − μ(h)). The caller splits them off."""

    def __init__(self, params: Mapping[str, Any]) -> None:
        super().__init__()
        self.network = ConvNet(params)

    def forward(self, x: Tensor) -> Pair:
        """x → (z, log_det (N,)); the first half of the channels is unchanged."""
        h, out = x.chunk(2, 1)
        s, mean = self.network(h).chunk(2, 1)
        s = BOUND * torch.tanh(s / BOUND)
        return torch.cat([h, (out - mean) * torch.exp(-s)], 1), -s.sum((1, 2, 3))

    def inverse(self, z: Tensor) -> Tensor:
        """z → x."""
        h, out = z.chunk(2, 1)
        s, mean = self.network(h).chunk(2, 1)
        s = BOUND * torch.tanh(s / BOUND)
        return torch.cat([h, out * torch.exp(s) + mean], 1)


class Squeeze(nn.Module):
    """Turns each block of 2 × 2 pixels into one pixel."""

    def forward(self, x: Tensor) -> Pair:
        """(N, C, H, W) → (N, 4 C, H/2, W/2)."""
        return functional.pixel_unshuffle(x, 2), x.new_zeros(len(x))

    def inverse(self, z: Tensor) -> Tensor:
        """(N, 4 C, H/2, W/2) → (N, C, H, W)."""
        return functional.pixel_shuffle(z, 2)


class Leave(nn.Module):
    """Marks the place where the second half of the channels leaves the flow."""


class ImageFlow(nn.Module):
    """log p of images (N, H, W, C) on [0, 1] in nats: logit, the maps in order, a standard normal prior."""

    def __init__(self, params: Mapping[str, Any], event_shape: tuple[int, int, int], alpha: float = 0.05) -> None:
        super().__init__()
        self.alpha = alpha
        (name,) = set(params) - {"logit"}
        self.event_shape = event_shape
        self.maps = nn.ModuleList(_maps(params[name], event_shape))

    def log_prob(self, x: Tensor) -> Tensor:
        """Return log p(x) (N,)."""
        x, shrink = x.permute(0, 3, 1, 2), 1 - 2 * self.alpha
        log_p, log_rest = torch.log(self.alpha + shrink * x), torch.log(self.alpha + shrink * (1 - x))
        total = x[0].numel() * math.log(shrink) - (log_p + log_rest).sum((1, 2, 3))
        x = log_p - log_rest
        for part in self.maps:
            if isinstance(part, Leave):
                x, out = x.chunk(2, 1)
                total = total + _normal(out)
            else:
                x, log_det = part(x)
                total = total + log_det
        return total + _normal(x)

    def inverse(self, z: Tensor) -> Tensor:
        """Return the images (N, H, W, C) of latents (N, H W C), in which what leaves the flow first comes first."""
        height, width, channels = self.event_shape
        outs = []
        for part in self.maps:
            if isinstance(part, Squeeze):
                height, width, channels = height // 2, width // 2, 4 * channels
            elif isinstance(part, Leave):
                channels //= 2
                size = height * width * channels
                outs.append(z[:, :size].reshape(-1, height, width, channels).permute(0, 3, 1, 2))
                z = z[:, size:]
        x = z.reshape(-1, height, width, channels).permute(0, 3, 1, 2)
        for part in reversed(self.maps):
            x = torch.cat([x, outs.pop()], 1) if isinstance(part, Leave) else part.inverse(x)  # type: ignore[operator]
        shrink = 1 - 2 * self.alpha
        return ((torch.sigmoid(x) - self.alpha) / shrink).permute(0, 2, 3, 1)


def _normal(z: Tensor) -> Tensor:
    return -(z * z / 2 + HALF_LOG_TWO_PI).sum((1, 2, 3))


def _maps(params: Mapping[str, Any], shape: tuple[int, int, int]) -> list[nn.Module]:
    """Return the maps of one scale and of all later scales, in the order in which the flows apply them."""
    height, width, channels = shape
    maps: list[nn.Module] = []
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    for i in range(sum(name.startswith("checkerboard") for name in params)):
        board = ((rows + columns) % 2 == i % 2).float()[None, None]
        maps.append(Coupling(params[f"checkerboard_{i}"], board))
    if "squeeze" in params:
        maps.append(Squeeze())
        height, width, channels = height // 2, width // 2, 4 * channels
    halves = range(sum(name.startswith("channel") for name in params))
    maps += [Coupling(params[f"channel_{i}"], None, i % 2) for i in halves]
    for i in range(sum(name.startswith("step") for name in params)):
        step = params[f"step_{i}"]
        maps += [Mixing(step["actnorm"], step["conv1x1"]), Coupling(step["coupling"], None)]
    if "split" in params:
        if "prior" in params["split"]:
            maps.append(Prior(params["split"]["prior"]))
        maps += [Leave(), *_maps(params["split"]["rest"], (height, width, channels // 2))]
    return maps
