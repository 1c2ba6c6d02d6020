"""NICE in PyTorch: the twin that the JAX flow is certified against."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class Coupling(nn.Module):
    """Entries of one parity are kept; a multi-layer perceptron of them is added to the entries of the other parity."""

    def __init__(self, dim: int, width: int, depth: int, kept: int) -> None:
        super().__init__()
        self.kept = kept
        half = dim // 2
        self.in_block = nn.Sequential(nn.Linear(half, width), nn.ReLU())
        self.mid_block = nn.ModuleList(nn.Sequential(nn.Linear(width, width), nn.ReLU()) for _ in range(depth - 1))
        self.out_block = nn.Linear(width, half)

    def shift(self, kept: Tensor) -> Tensor:
        """t(x_Ω), the perceptron."""
        hidden: Tensor = self.in_block(kept)
        for block in self.mid_block:
            hidden = block(hidden)
        shift: Tensor = self.out_block(hidden)
        return shift

    def forward(self, x: Tensor, sign: int = 1) -> Tensor:
        """x (batch, dim) → z (batch, dim); the inverse with sign = −1."""
        pairs = x.reshape(*x.shape[:-1], -1, 2)
        kept, moved = pairs[..., self.kept], pairs[..., 1 - self.kept]
        moved = moved + sign * self.shift(kept)
        return torch.stack((kept, moved) if self.kept == 0 else (moved, kept), dim=-1).flatten(-2)


class Scaling(nn.Module):
    """z = exp(s) ⊙ x with log-determinant Σ s."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.zeros(1, dim))

    def forward(self, x: Tensor, sign: int = 1) -> tuple[Tensor, Tensor]:
        """x (batch, dim) → (z, log_det ()); with sign = −1, the inverse and its log-determinant."""
        return x * torch.exp(sign * self.scale), sign * self.scale.sum()


class NICE(nn.Module):
    """The network of `mathdnn_jax.nice`, with the state-dict names of its checkpoints.

    These are `coupling.{i}.in_block.0`, `coupling.{i}.mid_block.{j}.0` and `coupling.{i}.out_block`, each with weight
    and bias, and `scaling.scale` (1, dim). The first coupling keeps the odd entries, counted from 0, the second keeps
    the even ones, and so on in turn.

    Source: course 000, Q3; course 003, P3; Dinh, Krueger, Bengio, 2014.
    """

    def __init__(self, dim: int = 784, width: int = 1000, depth: int = 5, couplings: int = 4) -> None:
        super().__init__()
        if dim % 2:
            raise ValueError(f"the network splits events into halves: dim must be even, given {dim}")
        self.dim = dim
        self.coupling = nn.ModuleList(Coupling(dim, width, depth, kept=(i + 1) % 2) for i in range(couplings))
        self.scaling = Scaling(dim)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x (batch, dim) → (z, log_det ())."""
        for coupling in self.coupling:
            x = coupling(x)
        z, log_det = self.scaling(x)
        return z, log_det

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """z (batch, dim) → (x, log_det ()), with the log-determinant of the inverse."""
        x, log_det = self.scaling(z, sign=-1)
        for coupling in reversed(self.coupling):
            x = coupling(x, sign=-1)
        return x, log_det

    def log_prob(self, x: Tensor) -> Tensor:
        """log p(x) = Σ_i [−softplus(z_i) − softplus(−z_i)] + Σ_i s_i, (batch, dim) → (batch,), in nats."""
        z, log_det = self(x)
        # −softplus(z) is log σ(−z). torch's softplus drops up to 2e-9 above 20, too much for a float64 reference.
        log_density = (functional.logsigmoid(z) + functional.logsigmoid(-z)).sum(-1)
        log_prob: Tensor = log_density + log_det
        return log_prob

    def sample(self, count: int) -> Tensor:
        """Draw (count, dim) from the flow, with torch's global generator."""
        # Zero is the only value of torch.rand whose logistic quantile is infinite.
        u = torch.rand(count, self.dim, dtype=self.scaling.scale.dtype).clamp_min(torch.finfo().tiny)
        x, _ = self.inverse(torch.log(u) - torch.log1p(-u))
        return x
