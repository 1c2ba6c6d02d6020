"""The autoencoder in PyTorch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class _Stack(nn.Module):
    """Linear layers fc1, fc2, …, each followed by a ReLU, or the last one by a sigmoid."""

    def __init__(self, widths: Sequence[int], *, sigmoid: bool) -> None:
        super().__init__()
        self.count, self.sigmoid = len(widths) - 1, sigmoid
        for k in range(self.count):
            self.add_module(f"fc{k + 1}", nn.Linear(widths[k], widths[k + 1]))

    def forward(self, x: Tensor) -> Tensor:
        """(N, widths[0]) → (N, widths[-1])."""
        for k in range(self.count):
            x = self.get_submodule(f"fc{k + 1}")(x)
            x = torch.sigmoid(x) if self.sigmoid and k == self.count - 1 else torch.relu(x)
        return x


class Autoencoder(nn.Module):
    """The network of `mathdnn_jax.autoencoder`, with state-dict names `encoder.fc1`, …, `decoder.fc1`, ….

    Source: course 002, P1.
    """

    def __init__(self, widths: Sequence[int] = (784, 256, 128, 32)) -> None:
        super().__init__()
        self.encoder = _Stack(widths, sigmoid=False)
        self.decoder = _Stack(tuple(widths)[::-1], sigmoid=True)

    def forward(self, x: Tensor) -> Tensor:
        """(N, dim) → its reconstruction."""
        y: Tensor = self.decoder(self.encoder(x))
        return y

    def reconstruction_error(self, x: Tensor) -> Tensor:
        """(N, dim) → the mean squared error of each image, (N,)."""
        error: Tensor = (x - self(x)).square().mean(-1)
        return error
