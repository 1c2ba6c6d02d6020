"""Inpainting in PyTorch: the twin that the JAX loop is compared with."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def inpaint(
    log_prob: Callable[[Tensor], Tensor], x: Tensor, missing: Tensor, *, steps: int, step_size: float
) -> tuple[Tensor, Tensor]:
    """x ← clip(x + step_size ∇log p(x), 0, 1) on the missing entries, with a new gradient in every step.

    Args:
        log_prob: (batch, dim) → (batch,), in nats.
        x: (batch, dim), with initial values at the missing entries.
        missing: Boolean, with the shape of x or broadcast to it.
        steps: Number of steps.
        step_size: Size of a step.

    Returns:
        The images after 0, 1, …, `steps` steps (steps + 1, batch, dim), and their log p (steps + 1, batch).

    Source: course 003, P3, without its accumulating gradient (erratum E2).
    """
    images, values = [x], []
    for _ in range(steps):
        now = images[-1].clone().requires_grad_(True)
        value = log_prob(now)
        (gradient,) = torch.autograd.grad(value.sum(), now)
        images.append(torch.where(missing, (images[-1] + step_size * gradient).clamp(0, 1), x))
        values.append(value.detach())
    with torch.no_grad():
        values.append(log_prob(images[-1]))
    return torch.stack(images), torch.stack(values)
