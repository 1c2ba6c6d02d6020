"""NICE: Adam's steps and whole epochs, by maximum likelihood."""

from __future__ import annotations

from collections.abc import Iterator

import jax

from benchmarks.case import Case, Settings, Workload
from benchmarks.frameworks.train_jax import negative_log_likelihood
from benchmarks.frameworks.train_torch import negative_log_likelihood as negative_log_likelihood_of
from benchmarks.workloads.networks import size
from benchmarks.workloads.nice import ALL, batches
from benchmarks.workloads.nice_model import Twins, images, prepare, products
from benchmarks.workloads.training import STEPS, Training, epoch_in_order, steps_one_by_one

ADAM_PASSES = 6
"""Passes over the parameters' bytes in each step: parameters, mean and square are read and written."""
STREAMED = (
    "weights, gradients and Adam's averages of 19 million parameters, which are streamed from memory in every step"
)


def training(model: Twins) -> Training:
    """Return NICE (course 000, Q3), trained by maximum likelihood."""
    return Training(
        model.params,
        negative_log_likelihood(model.flow),
        negative_log_likelihood_of(model.module),
        lambda count: images(count, model.config["dim"]),
    )


def step_cases(settings: Settings) -> Iterator[Case]:
    """Three steps of Adam on batches that are on the device, each dispatched by itself."""
    model = prepare(settings._replace(precision="f32"))
    for batch in batches(settings, cpu=(128, 1000), gpu=(128, 1024, 8192)):
        yield _step(model, batch, settings)


def _step(model: Twins, batch: int, settings: Settings) -> Case:
    return steps_one_by_one(training(model), batch, settings)._replace(
        why=STREAMED,
        flops=STEPS * batch * training_products(model),
        least_bytes=STEPS * ADAM_PASSES * size(model.params),
        targets={"best": 1.8, "limit": 0.75} if batch == 1000 else {},
    )


def epoch_cases(settings: Settings) -> Iterator[Case]:
    """An epoch of `fit` under one jit, from the same weights each time, the batches in the order of the data."""
    model = prepare(settings._replace(precision="f32"))
    for batch in batches(settings, cpu=(128, 1024, 8192), gpu=(128, 1024, 8192)):
        yield _epoch(model, batch, settings)


def _epoch(model: Twins, batch: int, settings: Settings) -> Case:
    on_gpu = jax.default_backend() == "gpu"
    # On a GPU at most 128 steps: PyTorch eager takes half a second for them, whatever the batch size.
    wanted = 3 * batch if settings.quick else min(49152, 128 * batch) if on_gpu else 4096
    steps = max(wanted, batch) // batch
    case = epoch_in_order(training(model), batch, steps, settings, loop=not on_gpu)
    return case._replace(
        why=STREAMED,
        flops=case.items * training_products(model),
        least_bytes=steps * ADAM_PASSES * size(model.params),
    )


def training_products(model: Twins) -> int:
    """Count the FLOPs of one image's matrix products in a training step.

    The backward pass takes twice as many as the forward pass, less the gradient with respect to the image.
    """
    kernel = model.params["coupling_0"]["dense_0"]["kernel"]
    return 3 * products(model.params) - 2 * int(kernel.size)


STEP = Workload("nice-step", "steps of Adam on the same NICE, each dispatched by itself", step_cases, ALL)
EPOCH = Workload("nice-epoch", "an epoch of the same NICE by mathdnn_jax.training.fit, under one jit", epoch_cases, ALL)
