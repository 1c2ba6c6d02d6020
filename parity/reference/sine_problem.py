"""Two stochastic gradients of E[X sin X] + ½ (μ − 1)² + σ − log σ in PyTorch, X ~ N(μ, σ²), σ = e^τ."""

from __future__ import annotations

import torch
from torch import Tensor


def score_function_gradient(mean: Tensor, log_scale: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """The derivatives by μ and τ, estimated from X = μ + σ · noise: the means of h (X − μ)/σ² and h ((X − μ)²/σ² − 1).

    h = X sin X; the derivatives of the penalty, μ − 1 and σ − 1, are added. In the course (X − μ)² is divided by σ
    (erratum E1).

    Source: course 003, P6(a).
    """
    scale = log_scale.exp()
    x = mean + scale * noise
    h, deviation = x * x.sin(), x - mean
    by_mean = (h * deviation / scale**2).mean() + mean - 1
    return by_mean, (h * (deviation**2 / scale**2 - 1)).mean() + scale - 1


def reparameterized_gradient(mean: Tensor, log_scale: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """The derivatives by μ and τ, estimated from X = μ + σ · noise: the means of h′(X) and h′(X) σ · noise.

    h′(x) = sin x + x cos x; the derivatives of the penalty are added. In the course the factor σ is missing
    (erratum E10).

    Source: course 003, P6(b).
    """
    scale = log_scale.exp()
    x = mean + scale * noise
    slope = x.sin() + x * x.cos()
    return slope.mean() + mean - 1, (slope * scale * noise).mean() + scale - 1


def sine_descent(noise: Tensor, *, reparameterized: bool, step_size: float = 1e-3) -> tuple[Tensor, Tensor]:
    """Descend from μ = 0, τ = 0 with steps of a fixed size, one for each row of `noise` (steps, draws).

    Both parameters are updated at once; the course updates τ with the new μ in (a) (erratum E11).

    Returns:
        μ and σ at the end.

    Source: course 003, P6.
    """
    estimate = reparameterized_gradient if reparameterized else score_function_gradient
    mean, log_scale = torch.zeros((), dtype=noise.dtype), torch.zeros((), dtype=noise.dtype)
    for draws in noise:
        by_mean, by_log_scale = estimate(mean, log_scale, draws)
        mean, log_scale = mean - step_size * by_mean, log_scale - step_size * by_log_scale
    return mean, log_scale.exp()
