"""The one-dimensional flow of Gaussian distribution functions in PyTorch."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class Flow1d(nn.Module):
    """The map of `mathdnn_jax.bijectors.mixture_cdf`, with the state-dict names `mus`, `log_sigmas`, `weight_logits`.

    z(x) = Σ_k w_k (Φ((x − μ_k)/σ_k) − ½) with σ = exp(log_sigmas) and w = exp(weight_logits), so that
    dz/dx = Σ_k w_k φ_k(x), φ_k the density of N(μ_k, σ_k²).

    Source: course 002, P2.
    """

    def __init__(self, components: int = 5) -> None:
        super().__init__()
        self.mus = nn.Parameter(torch.randn(components))
        self.log_sigmas = nn.Parameter(torch.zeros(components))
        self.weight_logits = nn.Parameter(torch.ones(components))

    def _standardised(self, x: Tensor) -> Tensor:
        a: Tensor = (x[..., None] - self.mus) * torch.exp(-self.log_sigmas)
        return a

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """X of any shape → (z, log dz/dx), each of that shape."""
        a = self._standardised(x)
        # As in the course: PyTorch's normal distribution function is ½ (1 + erf).
        z = (torch.exp(self.weight_logits) * (0.5 * (1 + torch.erf(a * math.sqrt(0.5))) - 0.5)).sum(-1)
        log_terms = self.weight_logits - self.log_sigmas - a.square() / 2 - math.log(2 * math.pi) / 2
        return z, torch.logsumexp(log_terms, -1)

    def log_prob(self, x: Tensor) -> Tensor:
        """log φ(z(x)) + log dz/dx in nats, φ the standard normal density.

        Its integral is 2 Φ(W/2) − 1, W = Σ w (erratum E4).
        """
        z, log_slope = self(x)
        log_prob: Tensor = log_slope - z.square() / 2 - math.log(2 * math.pi) / 2
        return log_prob

    def inverse(self, z: Tensor, steps: int = 200) -> Tensor:
        """The x with z(x) = z, by bisection of a bracket that contains it.

        Raises:
            ValueError: a z is outside (−W/2, W/2), where no x has it.
        """
        half = torch.exp(self.weight_logits).sum() / 2
        if not bool((z.abs() < half).all()):
            raise ValueError(f"given z up to {float(z.abs().max()):.6g}: the map reaches only |z| < {float(half):.6g}")
        # Between the least and the greatest of the components' own quantiles of this level.
        level = torch.special.ndtri(0.5 + 0.5 * z / half)
        quantiles = self.mus + torch.exp(self.log_sigmas) * level[..., None]
        low, high = quantiles.min(-1).values, quantiles.max(-1).values
        for _ in range(steps):
            middle = (low + high) / 2
            below = self(middle)[0] < z
            low, high = torch.where(below, middle, low), torch.where(below, high, middle)
        x: Tensor = (low + high) / 2
        return x
