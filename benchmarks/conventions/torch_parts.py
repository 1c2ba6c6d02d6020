"""What the PyTorch networks have in common."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch


class QuickGelu(torch.nn.Module):
    """x σ(1.702 x)."""

    def forward(self, x: Any) -> Any:
        """Any shape."""
        return x * torch.sigmoid(1.702 * x)


def activation(name: str) -> torch.nn.Module:
    """Return the activation of this name, as `layers.ACTIVATIONS` has them for JAX."""
    kind, _, slope = name.partition(" ")
    if kind == "leaky":
        return torch.nn.LeakyReLU(float(slope))
    made: dict[str, Callable[[], torch.nn.Module]] = {
        "relu": lambda: torch.nn.ReLU(inplace=True),
        "relu6": torch.nn.ReLU6,
        "gelu": torch.nn.GELU,
        "gelu_tanh": lambda: torch.nn.GELU(approximate="tanh"),
        "quick_gelu": QuickGelu,
        "silu": torch.nn.SiLU,
        "mish": torch.nn.Mish,
        "hard_swish": torch.nn.Hardswish,
        "elu": torch.nn.ELU,
        "tanh": torch.nn.Tanh,
        "none": torch.nn.Identity,
    }
    return made[name]()


def random_statistics(module: torch.nn.Module) -> None:
    """Draw what is initialised to 0 and 1, so that leaving it out or exchanging it is a difference."""
    for part in module.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            torch.nn.init.normal_(part.get_buffer("running_mean"), 0.0, 0.5)
            torch.nn.init.uniform_(part.get_buffer("running_var"), 0.05, 2.0)
        kinds = (torch.nn.BatchNorm2d, torch.nn.LayerNorm, torch.nn.GroupNorm, torch.nn.RMSNorm)
        if isinstance(part, kinds):
            for parameter in part.parameters():
                torch.nn.init.normal_(parameter, 2.0, 1.0)
