"""NICE: log p of images, and sampling."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import jax
import numpy as np
import torch

from benchmarks.case import Case, Settings, Workload
from benchmarks.frameworks import on_torch
from benchmarks.workloads.networks import size
from benchmarks.workloads.nice_model import Twins, images, in_float64, on_both, prepare, products
from mathdnn_jax.probability import logistic

ALL = ("f32", "tf32", "bf16")


def log_prob_cases(settings: Settings) -> Iterator[Case]:
    """log p of a batch that is on the device."""
    model = prepare(settings)
    for batch in batches(settings, cpu=(1, 128, 1000, 4096, 16384), gpu=(1, 16, 128, 1024, 8192, 16384)):
        yield _log_prob(model, batch, settings)


def _log_prob(model: Twins, batch: int, settings: Settings) -> Case:
    log_prob = jax.jit(model.flow.log_prob)
    events, same = on_both(images(batch, model.config["dim"]), settings.precision)
    return Case(
        why="nearly all of it is matrix products, so the ratio is that of the frameworks' matrix rates, see the limits",
        label=f"batch {batch}",
        items=batch,
        unit="images",
        jax=lambda: log_prob(model.params, events).block_until_ready(),
        torch=on_torch.inference_baselines(model.module.log_prob, (same,), settings),
        truth=lambda: in_float64(model.module, same),
        flops=batch * products(model.params),
        least_bytes=size(model.params) + events.nbytes,
        targets={"best": 1.8, "limit": 0.75} if batch == 1000 else {},
        lowered=lambda: log_prob.lower(model.params, events),
    )


def sample_cases(settings: Settings) -> Iterator[Case]:
    """Events from random numbers; then the same map of given latents, whose results can be compared."""
    model = prepare(settings)
    sizes = batches(settings, cpu=(1, 128, 1000), gpu=(1, 128, 1024, 8192, 16384))
    for batch in sizes:
        yield _sample(model, batch, settings)
    yield _inverse(model, sizes[-1], settings)


def _sample(model: Twins, batch: int, settings: Settings) -> Case:
    sample = jax.jit(model.flow.sample, static_argnums=2)
    key = jax.random.key(0)
    return Case(
        label=f"batch {batch}",
        items=batch,
        unit="images",
        jax=lambda: sample(model.params, key, (batch,)).block_until_ready(),
        torch=on_torch.inference_baselines(_sampler(model, batch), (), settings),
        flops=batch * products(model.params),
        least_bytes=size(model.params),
        lowered=lambda: sample.lower(model.params, key, (batch,)),
    )


def _inverse(model: Twins, batch: int, settings: Settings) -> Case:
    inverse = jax.jit(lambda params, z: model.flow.inverse(params, z)[0])
    latents = np.array(logistic((model.config["dim"],)).sample(jax.random.key(1), (batch,), np.float32))
    z, same = on_both(latents, settings.precision)
    return Case(
        label=f"latents given, batch {batch}",
        items=batch,
        unit="images",
        jax=lambda: inverse(model.params, z).block_until_ready(),
        torch=on_torch.inference_baselines(lambda z: model.module.inverse(z)[0], (same,), settings),
        truth=lambda: in_float64(model.module, same, inverse=True),
        flops=batch * products(model.params),
        least_bytes=size(model.params) + 2 * z.nbytes,
        lowered=lambda: inverse.lower(model.params, z),
    )


def batches(settings: Settings, cpu: tuple[int, ...], gpu: tuple[int, ...]) -> tuple[int, ...]:
    """Return the requested batch sizes, or tiny ones if quick, or those that suit a device of this kind."""
    if settings.batches is not None:
        return settings.batches
    if settings.quick:
        return (2, 8)
    return gpu if on_torch.device().type == "cuda" else cpu


def _sampler(model: Twins, batch: int) -> Callable[[], torch.Tensor]:
    dtype = next(model.module.parameters()).dtype

    def sample() -> torch.Tensor:
        u = torch.rand(batch, model.config["dim"], device=on_torch.device()).clamp_min(torch.finfo(torch.float32).tiny)
        x: torch.Tensor = model.module.inverse((torch.log(u) - torch.log1p(-u)).to(dtype))[0]
        return x

    return sample


LOG_PROB = Workload(
    "nice-log-prob",
    "log p of images under a NICE of 19 million parameters: jax.jit(flow.log_prob) beside its PyTorch twin",
    log_prob_cases,
    ALL,
)
SAMPLE = Workload("nice-sample", "images drawn from the same NICE", sample_cases, ALL)
