"""LeNet for colour images in PyTorch, as in PyTorch's tutorial."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class LeNet(nn.Module):
    """Two 5×5 convolutions with ReLU and max-pooling, then three linear layers: (N, 3, 32, 32) → (N, classes).

    State-dict names `conv1`, `conv2`, `fc1`, `fc2`, `fc3`. It was trained on images scaled as (x − 0.5)/0.5.
    """

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 6, 5), nn.Conv2d(6, 16, 5)
        self.fc1, self.fc2, self.fc3 = nn.Linear(400, 120), nn.Linear(120, 84), nn.Linear(84, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Scores of images."""
        x = functional.max_pool2d(torch.relu(self.conv1(x)), 2)
        x = functional.max_pool2d(torch.relu(self.conv2(x)), 2).flatten(1)
        y: Tensor = self.fc3(torch.relu(self.fc2(torch.relu(self.fc1(x)))))
        return y
