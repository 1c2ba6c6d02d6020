"""RealNVP and Glow on images of 28 × 28: steps of Adam, each dispatched by itself, and images of given latents."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np

from benchmarks.case import Case, Settings, Workload
from benchmarks.frameworks import on_jax, on_torch
from benchmarks.frameworks.train_jax import negative_log_likelihood
from benchmarks.frameworks.train_torch import negative_log_likelihood as negative_log_likelihood_of
from benchmarks.workloads.torch_flows import ImageFlow
from benchmarks.workloads.training import STEPS, Training, steps_one_by_one
from mathdnn_jax.flows import Flow, glow, real_nvp

BATCH = 128
Build = Callable[..., Flow]
CONVOLUTIONS = "on a CPU, XLA's gradients of convolutions run at half the rate of those of PyTorch's library"


def build_flow(build: Build, *, tiny: bool) -> tuple[Flow, tuple[int, int, int]]:
    """Return the flow with its default sizes, or a tiny one, and the shape of its images."""
    if not tiny:
        return build((28, 28, 1)), (28, 28, 1)
    sizes = {"couplings": 2, "depth": 1} if build is real_nvp else {"steps": 1}
    return build((4, 4, 1), width=4, **sizes), (4, 4, 1)


def step_cases(build: Build, settings: Settings) -> Iterator[Case]:
    """Three training steps of the flow with its default sizes, or with tiny ones."""
    flow, shape = build_flow(build, tiny=settings.quick)
    for batch in settings.batches or ((4,) if settings.quick else (BATCH,)):
        yield _step(flow, shape, batch, settings)


def training(flow: Flow, shape: tuple[int, int, int]) -> Training:
    """Return the flow, trained by maximum likelihood on uniform images."""
    params = away_from_zero(jax.jit(flow.init)(jax.random.key(0)))
    return Training(
        params,
        negative_log_likelihood(flow),
        negative_log_likelihood_of(ImageFlow(params, shape).to(on_torch.device())),
        lambda count: np.random.default_rng(0).random((count, *shape), dtype=np.float32),
    )


def _step(flow: Flow, shape: tuple[int, int, int], batch: int, settings: Settings) -> Case:
    work = training(flow, shape)
    return steps_one_by_one(work, batch, settings)._replace(
        why=CONVOLUTIONS,
        flops=3 * STEPS * _products(flow, work.params, (batch, *shape)),
        limit="convolution",
    )


def sample_cases(build: Build, settings: Settings) -> Iterator[Case]:
    """Images of latents that are given to both frameworks, so that the images can be compared."""
    flow, shape = build_flow(build, tiny=settings.quick)
    params = away_from_zero(jax.jit(flow.init)(jax.random.key(0)))
    module = ImageFlow(params, shape).to(on_torch.device()).eval()
    for batch in settings.batches or ((4,) if settings.quick else (BATCH,)):
        latents = np.random.default_rng(0).standard_normal((batch, math.prod(shape)), dtype=np.float32)
        yield _sampling(flow, params, module, latents, settings)


def _sampling(flow: Flow, params: Any, module: ImageFlow, latents: np.ndarray, settings: Settings) -> Case:
    inverse = jax.jit(lambda params, z: flow.inverse(params, z)[0])
    z, same = on_jax.on_device(latents), on_torch.on_device(latents)
    return Case(
        why=CONVOLUTIONS,
        label=f"batch {len(latents)}",
        items=len(latents),
        unit="images",
        jax=lambda: inverse(params, z).block_until_ready(),
        torch=on_torch.inference_baselines(module.inverse, (same,), settings),
        tolerance=1e-4,
        flops=_products(flow, params, (len(latents), *module.event_shape)),
        limit="convolution",
        lowered=lambda: inverse.lower(params, z),
    )


def away_from_zero(params: Any, scale: float = 0.02) -> Any:
    """Add noise to all parameters: convolutions that start at zero would hide the effect of the others."""
    leaves, structure = jax.tree.flatten(params)
    rng = np.random.default_rng(1)
    noise = [np.float32(scale) * rng.standard_normal(leaf.shape, dtype=np.float32) for leaf in leaves]
    return jax.tree.unflatten(structure, [leaf + extra for leaf, extra in zip(leaves, noise, strict=True)])


def _products(flow: Flow, params: Any, shape: tuple[int, ...]) -> int:
    """Count the FLOPs of a forward pass's convolutions; zeros beyond the border count as if they were pixels."""
    program = jax.make_jaxpr(flow.log_prob)(params, jax.ShapeDtypeStruct(shape, np.float32))
    return sum(_of_equations(program.jaxpr))


def _of_equations(jaxpr: Any) -> Iterator[int]:
    for equation in jaxpr.eqns:
        if equation.primitive.name == "conv_general_dilated":
            kernel = equation.invars[1].aval.shape
            yield 2 * math.prod(equation.outvars[0].aval.shape) * math.prod(kernel[:3])
        for value in equation.params.values():
            if hasattr(value, "jaxpr"):
                yield from _of_equations(value.jaxpr)


REAL_NVP = Workload(
    "real-nvp-step", "steps of Adam on a RealNVP for images of 28 × 28", functools.partial(step_cases, real_nvp)
)
REAL_NVP_SAMPLE = Workload(
    "real-nvp-sample", "images of given latents by the same RealNVP", functools.partial(sample_cases, real_nvp)
)
GLOW_SAMPLE = Workload("glow-sample", "images of given latents by the same Glow", functools.partial(sample_cases, glow))
GLOW = Workload("glow-step", "steps of Adam on a Glow for images of 28 × 28", functools.partial(step_cases, glow))
