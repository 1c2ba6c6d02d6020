"""Training the one-dimensional flow that consists of Gaussian distribution functions."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import numpy as np
import optax
import torch
from torch import nn

from benchmarks.case import COMPARED_STEPS, Case, Settings, Workload
from benchmarks.frameworks import on_jax, on_torch
from benchmarks.frameworks.train_jax import fit_contender, negative_log_likelihood, step_contender
from benchmarks.frameworks.train_torch import negative_log_likelihood as negative_log_likelihood_of
from benchmarks.frameworks.train_torch import training_baselines
from benchmarks.workloads.training import STEP_IN_LOOP
from mathdnn_jax.flows import mixture_cdf_flow
from mathdnn_jax.recipes.mixture_cdf import three_gaussians

NUMBERS, BATCH, COMPONENTS, RATE = 5000, 128, 5, 5e-2
EPOCHS, FEW_EPOCHS = 100, 10
HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)


class MixtureCDF(nn.Module):
    """The course's flow in PyTorch: z = Σ_k w_k (Φ(a_k) − ½), a_k = (x − μ_k)/σ_k, under a standard normal prior."""

    def __init__(self, mean: torch.Tensor) -> None:
        super().__init__()
        self.mean = nn.Parameter(mean)
        self.log_scale = nn.Parameter(torch.zeros_like(mean))
        self.weight_logits = nn.Parameter(torch.ones_like(mean))

    def log_prob(self, x: torch.Tensor) -> torch.Tensor:
        """Return log p(x) in nats, in the shape of x."""
        a = (x[:, None] - self.mean) * torch.exp(-self.log_scale)
        z = (torch.exp(self.weight_logits) / 2 * torch.erf(a * math.sqrt(0.5))).sum(-1)
        log_slope = torch.logsumexp(self.weight_logits - self.log_scale - a * a / 2 - HALF_LOG_TWO_PI, -1)
        return log_slope - z * z / 2 - HALF_LOG_TWO_PI


def cases(settings: Settings) -> Iterator[Case]:
    """All epochs in the order of the data, comparing the first losses; then shuffled, as is usual in training."""
    batch = (settings.batches or (16,))[0] if settings.quick else (settings.batches or (BATCH,))[0]
    yield _case(settings, batch, shuffle=False)
    yield _case(settings, batch, shuffle=True)


def _case(settings: Settings, batch: int, *, shuffle: bool) -> Case:
    # On a GPU a hundred epochs would take PyTorch minutes, as the GPU waits for the CPU between small operations.
    epochs = 3 if settings.quick else EPOCHS if on_torch.device().type == "cpu" else FEW_EPOCHS
    numbers = three_gaussians(np.random.default_rng(0), 10 * batch if settings.quick else max(NUMBERS, batch))
    numbers = np.random.default_rng(1).permutation(numbers)
    whole = len(numbers) // batch * batch
    data, same = on_jax.on_device(numbers), on_torch.on_device(numbers)
    flow = mixture_cdf_flow(COMPONENTS)
    params = flow.init(jax.random.key(0))
    module = MixtureCDF(on_torch.on_device(np.array(params["mean"])))
    steps = whole // batch

    loss = negative_log_likelihood(flow)

    def order() -> Sequence[torch.Tensor]:
        return [rows for _ in range(epochs) for rows in epoch()[:whole].split(batch)]

    def epoch() -> torch.Tensor:
        return same[torch.randperm(len(same), device=same.device)] if shuffle else same

    def read(losses: Any) -> Any:
        # Shuffled runs are compared by the mean loss of the last epoch, over the same numbers in another order.
        return losses[-steps:].mean() if shuffle else losses[:COMPARED_STEPS]

    adam = optax.adam(RATE)
    run = fit_contender(loss, params, data, adam, settings, batch=batch, epochs=epochs, shuffle=shuffle, read=read)
    others = {}
    if not shuffle:
        rows = [data[start : start + batch] for start in range(0, whole, batch)]
        others[STEP_IN_LOOP], _ = step_contender(loss, params, rows * epochs, RATE, settings, restart=True)
    return Case(
        label=f"{epochs} epochs, {'shuffled' if shuffle else 'in order'}",
        items=epochs * steps,
        unit="steps",
        jax=run,
        torch=training_baselines(negative_log_likelihood_of(module), RATE, order, settings, restart=True, read=read),
        others=others,
        # A mean over a few batches says little about another order.
        tolerance=1e-4 if not shuffle else None if settings.quick else 0.02,
        targets={"eager": 40.0},
    )


WORKLOAD = Workload(
    "flow-1d",
    f"the 1-D mixture flow trained by fit for {EPOCHS} epochs of batches of {BATCH}, {FEW_EPOCHS} on a GPU",
    cases,
)
