"""smallNet in PyTorch, with batch norm for training and without it for testing."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn


class _SmallNet(nn.Module):
    """Two convolutions and two linear layers, a ReLU after each, with or without a batch norm before it."""

    batch_norm: ClassVar[bool]

    def __init__(
        self,
        channels: int = 16,
        hidden: int = 1024,
        classes: int = 10,
        image: int = 32,
        in_channels: int = 3,
    ) -> None:
        super().__init__()
        self.conv1 = self._block(nn.Conv2d(in_channels, channels, 3, padding=1), nn.BatchNorm2d, channels)
        self.conv2 = self._block(nn.Conv2d(channels, channels, 3, padding=1), nn.BatchNorm2d, channels)
        self.fc1 = self._block(nn.Linear(channels * image * image, hidden), nn.BatchNorm1d, hidden)
        self.fc2 = nn.Sequential(nn.Linear(hidden, classes), nn.ReLU())

    def _block(self, layer: nn.Module, norm: type[nn.BatchNorm1d | nn.BatchNorm2d], features: int) -> nn.Sequential:
        return nn.Sequential(layer, *([norm(features)] if self.batch_norm else []), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, image, image) → (N, classes)."""
        x = self.conv2(self.conv1(x))
        y: Tensor = self.fc2(self.fc1(x.flatten(1)))
        return y


class SmallNetTrain(_SmallNet):
    """Two convolutions and two linear layers, with a batch norm after all but the last, and a ReLU after each.

    The state-dict names are those of the file `smallNetSaved`: `conv1.0`, `conv1.1` (batch norm), `conv2.0`, `conv2.1`,
    `fc1.0`, `fc1.1`, `fc2.0`. x (N, in_channels, image, image) → (N, classes). The last ReLU is the course's: outputs
    are never negative.

    Source: course 001, P1; course 004, P3.
    """

    batch_norm = True


class SmallNetTest(_SmallNet):
    """`SmallNetTrain` with its batch norms folded away. State-dict names `conv1.0`, `conv2.0`, `fc1.0`, `fc2.0`.

    Source: course 001, P1; course 004, P3.
    """

    batch_norm = False
