"""A transformer block with its embedding, in PyTorch and in Flax, built from the conventions of either side."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import torch

from benchmarks.conventions.layers import ACTIVATIONS, Norm
from benchmarks.conventions.torch_parts import activation, random_statistics

VOCABULARY, LENGTH = 23, 7


@dataclass(frozen=True)
class Transformer:
    """The conventions; the PyTorch network takes those of the first part only."""

    act: str = "gelu"
    eps: float = 1e-5
    rms_eps: float = 1e-6
    norm: str = "pre"
    causal: bool = True
    pool: str = "mean"
    width: int = 16
    heads: int = 4

    embedding: float | None = None
    positions: bool = True
    eps_outside: bool = False
    unbiased: bool = False
    centred: bool = True
    one_plus: bool = False
    scale: str | float = "head"
    mask: str = "lower"
    roles: str = "qkv"
    softmax: int = -1
    head_order: str = "heads first"
    residual: float = 1.0
    end: str = "none"

    def torch(self) -> torch.nn.Module:
        """Return the PyTorch network."""
        return TorchTransformer(self)

    def flax(self) -> nn.Module:
        """Return the Flax network."""
        return FlaxTransformer(self)


class TorchAttention(torch.nn.Module):
    """Attention with heads, by PyTorch's own function."""

    def __init__(self, c: Transformer) -> None:
        super().__init__()
        self.heads, self.causal = c.heads, c.causal
        self.query, self.key, self.value, self.out = (torch.nn.Linear(c.width, c.width) for _ in range(4))

    def forward(self, x: Any) -> Any:
        """(N, T, D) → (N, T, D)."""
        n, length, width = x.shape
        q, k, v = (
            part(x).view(n, length, self.heads, -1).transpose(1, 2) for part in (self.query, self.key, self.value)
        )
        y = torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
        return self.out(y.transpose(1, 2).reshape(n, length, width))


class TorchTransformer(torch.nn.Module):
    """Embedding, one block with layer norm and RMS norm, a last layer norm, and the mean over the positions."""

    def __init__(self, c: Transformer) -> None:
        super().__init__()
        self.c = c
        self.embed = torch.nn.Embedding(VOCABULARY, c.width)
        self.position = torch.nn.Parameter(torch.randn(LENGTH, c.width))
        self.norm1 = torch.nn.LayerNorm(c.width, eps=c.eps)
        self.attention = TorchAttention(c)
        self.norm2 = torch.nn.RMSNorm(c.width, eps=c.rms_eps)
        self.fc1 = torch.nn.Linear(c.width, 3 * c.width)
        self.act = activation(c.act)
        self.fc2 = torch.nn.Linear(3 * c.width, c.width)
        self.norm3 = torch.nn.LayerNorm(c.width, eps=c.eps)
        self.head = torch.nn.Linear(c.width, 5)
        random_statistics(self)

    def forward(self, tokens: Any) -> Any:
        """(N, T) → (N, 5)."""
        x = self.embed(tokens) * math.sqrt(self.c.width) + self.position
        if self.c.norm == "pre":
            x = x + self.attention(self.norm1(x))
            x = x + self.fc2(self.act(self.fc1(self.norm2(x))))
        else:
            x = self.norm1(x + self.attention(x))
            x = self.norm2(x + self.fc2(self.act(self.fc1(x))))
        x = self.norm3(x)
        return self.head(x.mean(1) if self.c.pool == "mean" else x[:, 0])


class Attention(nn.Module):
    """The same attention."""

    c: Transformer

    @nn.compact
    def __call__(self, x: Any) -> Any:
        """(N, T, D) → (N, T, D)."""
        c, (n, length, width) = self.c, x.shape
        size = c.width // c.heads

        def split(y: Any) -> Any:
            if c.head_order == "heads first":
                return y.reshape(n, length, c.heads, size).transpose(0, 2, 1, 3)
            return y.reshape(n, length, size, c.heads).transpose(0, 3, 1, 2)

        parts = {name[0]: split(nn.Dense(c.width, name=name)(x)) for name in ("query", "key", "value")}
        q, k, v = (parts[role] for role in c.roles)
        factors = {"head": 1 / math.sqrt(size), "model": 1 / math.sqrt(width), "none": 1.0}
        scores = q @ k.swapaxes(-2, -1) * (c.scale if isinstance(c.scale, float) else factors[c.scale])
        if c.causal:
            table = np.tril(np.ones((length, length), bool))
            scores = jnp.where(table if c.mask == "lower" else table.T, scores, -jnp.inf)
        y = jax.nn.softmax(scores, c.softmax) @ v
        y = y.transpose(0, 2, 1, 3) if c.head_order == "heads first" else y.transpose(0, 2, 3, 1)
        return nn.Dense(c.width, name="out")(y.reshape(n, length, width))


class FlaxTransformer(nn.Module):
    """The same network."""

    c: Transformer

    @nn.compact
    def __call__(self, tokens: Any) -> Any:
        """(N, T) → (N, 5)."""
        c = self.c

        def layer_norm(name: str) -> Norm:
            return Norm(c.eps, c.eps_outside, c.centred, c.unbiased, name=name)

        norm1, norm3 = layer_norm("norm1"), layer_norm("norm3")
        norm2 = Norm(c.rms_eps, centred=False, one_plus=c.one_plus, shifted=False, name="norm2")
        fc1, fc2 = nn.Dense(3 * c.width, name="fc1"), nn.Dense(c.width, name="fc2")
        act, attention = ACTIVATIONS[c.act], Attention(c, name="attention")
        x = nn.Embed(VOCABULARY, c.width, name="embed")(tokens)
        x = x * (math.sqrt(c.width) if c.embedding is None else c.embedding)
        position = self.param("position", nn.initializers.normal(1.0), (LENGTH, c.width))
        x = x + position if c.positions else x
        if c.norm == "pre":
            x = x + attention(norm1(x)) * c.residual
            x = x + fc2(act(fc1(norm2(x)))) * c.residual
        else:
            x = norm1(x + attention(x) * c.residual)
            x = norm2(x + fc2(act(fc1(x))) * c.residual)
        x = norm3(x)
        x = nn.Dense(5, name="head")(x.mean(1) if c.pool == "mean" else x[:, 0])
        return jax.nn.softmax(x) if c.end == "softmax" else x
