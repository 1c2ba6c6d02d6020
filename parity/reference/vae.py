"""A variational autoencoder in PyTorch, with a Bernoulli likelihood."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class GaussianPrior(nn.Module):
    """r_λ = N(mean, diag exp(log_variance))."""

    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        self.mean = nn.Parameter(torch.zeros(latent_dim))
        self.log_variance = nn.Parameter(torch.zeros(latent_dim))


class VAE(nn.Module):
    """The network of `mathdnn_jax.vae` with one hidden layer on either side.

    State-dict names `fc1`, `fc21` (the mean of q), `fc22` (its log-variance), `fc3`, `fc4`, as in PyTorch's example and
    the many networks modelled on it, and `prior.mean`, `prior.log_variance` if the prior is trainable.

    Source: course 000, Q6; Kingma, Welling, 2013.
    """

    def __init__(self, dim: int = 784, hidden: int = 400, latent_dim: int = 20, prior: str = "trainable") -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.fc21, self.fc22 = nn.Linear(hidden, latent_dim), nn.Linear(hidden, latent_dim)
        self.fc3, self.fc4 = nn.Linear(latent_dim, hidden), nn.Linear(hidden, dim)
        self.prior = GaussianPrior(latent_dim) if prior == "trainable" else None

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x (N, dim) → the mean and the log-variance of q(z | x)."""
        hidden = torch.relu(self.fc1(x))
        return self.fc21(hidden), self.fc22(hidden)

    def logits(self, z: Tensor) -> Tensor:
        """z (N, latent_dim) → the logits of p(x | z)."""
        logits: Tensor = self.fc4(torch.relu(self.fc3(z)))
        return logits

    def forward(self, x: Tensor) -> Tensor:
        """x (N, dim) → E[x | z] at the mean z of q(z | x)."""
        return torch.sigmoid(self.logits(self.encode(x)[0]))

    def elbo(self, x: Tensor, noise: Tensor) -> Tensor:
        """The bound of one draw z = mean + scale · noise, (N,), with the KL in closed form."""
        mean, log_variance = self.encode(x)
        z = mean + torch.exp(log_variance / 2) * noise
        likelihood = -functional.binary_cross_entropy_with_logits(self.logits(z), x, reduction="none").sum(-1)
        if self.prior is None:
            prior_mean, prior_log_variance = torch.zeros_like(mean), torch.zeros_like(mean)
        else:
            prior_mean, prior_log_variance = self.prior.mean, self.prior.log_variance
        ratio = log_variance - prior_log_variance
        shift = (mean - prior_mean).square() * torch.exp(-prior_log_variance)
        bound: Tensor = likelihood - 0.5 * (torch.exp(ratio) - 1 - ratio + shift).sum(-1)
        return bound
