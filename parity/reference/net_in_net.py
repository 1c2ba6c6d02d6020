"""Net1, whose linear layers fix the size of the image, and Net2, whose convolutions slide over images of any size."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

CHANNELS = (64, 192, 384, 256, 256)
KERNELS = (7, 3, 3, 3, 3)


class _NetInNet(nn.Module):
    """Five convolutions without padding, with ReLU between them, and the layers of a classifier."""

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
        first, second, third = self._classifier_layers(channels[-1], side, hidden, num_classes)
        self.classifier = nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), third)

    def _classifier_layers(self, channels: int, side: int, hidden: int, num_classes: int) -> Sequence[nn.Module]:
        raise NotImplementedError


class Net1(_NetInNet):
    """Five convolutions without padding, with ReLU between them, then three linear layers, with ReLU between them.

    State-dict names `features.{0,2,4,6,8}` and `classifier.{0,2,4}`. x (N, in_channels, image, image) →
    (N, num_classes). At full size the first linear layer is 82944 → 4096, 1.36 GB of the network's 1.43 GB.

    Source: course 000, Q2; course 004, P5.
    """

    def _classifier_layers(self, channels: int, side: int, hidden: int, num_classes: int) -> Sequence[nn.Module]:
        return nn.Linear(channels * side * side, hidden), nn.Linear(hidden, hidden), nn.Linear(hidden, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, image, image) → (N, num_classes)."""
        y: Tensor = self.classifier(self.features(x).flatten(1))
        return y


class Net2(_NetInNet):
    """Net1 with its first linear layer as a convolution over the whole feature map, the others as 1 × 1 convolutions.

    The state-dict names are Net1's. x (N, in_channels, h, w) with h, w ≥ image →
    (N, num_classes, h − image + 1, w − image + 1), whose entry at (i, j) is Net1 on the patch
    [i : i + image, j : j + image].

    Source: course 000, Q2; course 004, P5.
    """

    def _classifier_layers(self, channels: int, side: int, hidden: int, num_classes: int) -> Sequence[nn.Module]:
        return nn.Conv2d(channels, hidden, side), nn.Conv2d(hidden, hidden, 1), nn.Conv2d(hidden, num_classes, 1)

    def copy_weights_from(self, net1: Net1) -> None:
        """Copy the weights of a Net1 of the same sizes; a row of a linear layer becomes a kernel, in C, H, W order."""
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
        raise ValueError(f"given images of {image}: the receptive field of the features is {image - side + 1} wide")
    return side


def _features(in_channels: int, channels: Sequence[int]) -> nn.Sequential:
    if len(channels) != len(KERNELS):
        raise ValueError(f"given the channels {tuple(channels)}: there are {len(KERNELS)} convolutions")
    layers: list[nn.Module] = []
    for fan_in, fan_out, kernel in zip((in_channels, *channels[:-1]), channels, KERNELS, strict=True):
        layers += [nn.Conv2d(fan_in, fan_out, kernel), nn.ReLU()]
    return nn.Sequential(*layers[:-1])
