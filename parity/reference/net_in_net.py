"""Net1, whose linear layers fix the size of the image, and Net2, whose convolutions slide over any size."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

CHANNELS = (64, 192, 384, 256, 256)
KERNELS = (7, 3, 3, 3, 3)


class Net1(nn.Module):
    """Five convolutions without padding, ReLU between them, then three linear layers with ReLU between them.

    Names `features.{0,2,4,6,8}` and `classifier.{0,2,4}`. x (N, in_channels, image, image) → (N, num_classes). At full
    size the first linear layer is 82944 → 4096, 1.36 GB of the network's 1.43.

    Source: seeds 000 Q2 and 004 P5.
    """

    def __init__(
        self,
        num_classes: int = 10,
        channels: Sequence[int] = CHANNELS,
        hidden: int = 4096,
        image: int = 32,
        in_channels: int = 3,
    ) -> None:
        super().__init__()
        side = feature_side(image)
        self.features = _features(in_channels, channels)
        self.classifier = nn.Sequential(
            nn.Linear(channels[-1] * side * side, hidden),
            nn.ReLU(),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            nn.Linear(hidden, num_classes),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, image, image) → (N, num_classes)."""
        y: Tensor = self.classifier(self.features(x).flatten(1))
        return y


class Net2(nn.Module):
    """Net1 with its first linear layer as a convolution over the whole feature map, the others as 1 × 1 convolutions.

    The names are Net1's. x (N, in_channels, h, w) with h, w ≥ image → (N, num_classes, h − image + 1, w − image + 1),
    whose entry at (i, j) is Net1 on the patch [i : i + image, j : j + image].

    Source: seeds 000 Q2 and 004 P5.
    """

    def __init__(
        self,
        num_classes: int = 10,
        channels: Sequence[int] = CHANNELS,
        hidden: int = 4096,
        image: int = 32,
        in_channels: int = 3,
    ) -> None:
        super().__init__()
        self.features = _features(in_channels, channels)
        self.classifier = nn.Sequential(
            nn.Conv2d(channels[-1], hidden, feature_side(image)),
            nn.ReLU(),
            nn.Conv2d(hidden, hidden, 1),
            nn.ReLU(),
            nn.Conv2d(hidden, num_classes, 1),
        )

    def copy_weights_from(self, net1: Net1) -> None:
        """Take the weights of a Net1 of the same sizes; a row of a linear layer becomes a kernel, in C, H, W order."""
        with torch.no_grad():
            for mine, theirs in zip(self.parameters(), net1.parameters(), strict=True):
                mine.copy_(theirs.reshape(mine.shape))

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, h, w) → (N, num_classes, h − image + 1, w − image + 1)."""
        y: Tensor = self.classifier(self.features(x))
        return y


def feature_side(image: int) -> int:
    """The height and width of the features of a square image."""
    side = image - sum(kernel - 1 for kernel in KERNELS)
    if side < 1:
        raise ValueError(f"the features' receptive field is {image - side + 1} wide, given images of {image}")
    return side


def _features(in_channels: int, channels: Sequence[int]) -> nn.Sequential:
    if len(channels) != len(KERNELS):
        raise ValueError(f"there are {len(KERNELS)} convolutions, given the channels {tuple(channels)}")
    layers: list[nn.Module] = []
    for fan_in, fan_out, kernel in zip((in_channels, *channels[:-1]), channels, KERNELS, strict=True):
        layers += [nn.Conv2d(fan_in, fan_out, kernel), nn.ReLU()]
    return nn.Sequential(*layers[:-1])
