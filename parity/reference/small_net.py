"""smallNet in PyTorch, with batch norm for training and without it for testing."""

from __future__ import annotations

from torch import Tensor, nn


class SmallNetTrain(nn.Module):
    """Two convolutions and two linear layers; batch norm after all of them but the last, and a ReLU after all.

    The state-dict names are those of the file `smallNetSaved`: `conv1.0`, `conv1.1` (batch norm), `conv2.0`, `conv2.1`,
    `fc1.0`, `fc1.1`, `fc2.0`. x (N, in_channels, image, image) → (N, classes). The last ReLU is the seed's own: outputs
    are never negative.

    Source: seeds 001 P1 and 004 P3.
    """

    def __init__(
        self,
        channels: int = 16,
        hidden: int = 1024,
        classes: int = 10,
        image: int = 32,
        in_channels: int = 3,
    ) -> None:
        super().__init__()
        self.conv1 = nn.Sequential(nn.Conv2d(in_channels, channels, 3, padding=1), nn.BatchNorm2d(channels), nn.ReLU())
        self.conv2 = nn.Sequential(nn.Conv2d(channels, channels, 3, padding=1), nn.BatchNorm2d(channels), nn.ReLU())
        self.fc1 = nn.Sequential(nn.Linear(channels * image * image, hidden), nn.BatchNorm1d(hidden), nn.ReLU())
        self.fc2 = nn.Sequential(nn.Linear(hidden, classes), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, image, image) → (N, classes)."""
        x = self.conv2(self.conv1(x))
        y: Tensor = self.fc2(self.fc1(x.flatten(1)))
        return y


class SmallNetTest(nn.Module):
    """`SmallNetTrain` without batch norm: what folding it away fills. Names `conv1.0`, `conv2.0`, `fc1.0`, `fc2.0`.

    Source: seeds 001 P1 and 004 P3.
    """

    def __init__(
        self,
        channels: int = 16,
        hidden: int = 1024,
        classes: int = 10,
        image: int = 32,
        in_channels: int = 3,
    ) -> None:
        super().__init__()
        self.conv1 = nn.Sequential(nn.Conv2d(in_channels, channels, 3, padding=1), nn.ReLU())
        self.conv2 = nn.Sequential(nn.Conv2d(channels, channels, 3, padding=1), nn.ReLU())
        self.fc1 = nn.Sequential(nn.Linear(channels * image * image, hidden), nn.ReLU())
        self.fc2 = nn.Sequential(nn.Linear(hidden, classes), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, image, image) → (N, classes)."""
        x = self.conv2(self.conv1(x))
        y: Tensor = self.fc2(self.fc1(x.flatten(1)))
        return y
