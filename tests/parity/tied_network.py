"""A language model's network: the table of words is its last layer too, in Flax and in PyTorch."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import pytest


class Tied(nn.Module):
    """Words, a dense layer, and the scores of all words."""

    @nn.compact
    def __call__(self, x: Any) -> Any:
        embed = nn.Embed(7, 4, name="embed")
        return embed.attend(nn.relu(nn.Dense(4, name="fc")(embed(x))))


def tied_module() -> Any:
    """The same as a PyTorch module, whose state dict has the table twice."""
    torch = pytest.importorskip("torch", reason="the other side is PyTorch")

    class Module(torch.nn.Module):  # type: ignore[misc, name-defined, unused-ignore]
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.fc = torch.nn.Embedding(7, 4), torch.nn.Linear(4, 4)
            self.head = torch.nn.Linear(4, 7, bias=False)
            self.head.weight = self.embed.weight

        def forward(self, x: Any) -> Any:
            return self.head(torch.relu(self.fc(self.embed(x))))

    return Module()
