"""NICE: Adam's steps and whole epochs, by maximum likelihood."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jax

from benchmarks.frameworks.train_jax import fit_run, step_run
from benchmarks.frameworks.train_torch import likelihood, training_runs
from benchmarks.harness.workload import Case, Settings, Workload
from benchmarks.workloads.nice import ALL, batches
from benchmarks.workloads.nice_model import Model, images, on_both, prepare, products, size

RATE = 1e-3
STEPS = 3
"""In a run of the step: the losses of the second and the third depend on the gradients."""
ADAM_PASSES = 6
"""Of the parameters' bytes, each step: parameters, mean and square are read and written."""
STREAMED = (
    "weights, gradients and Adam's averages of 19 million parameters, which are streamed from memory in every step"
)


def step_cases(settings: Settings) -> Iterator[Case]:
    """Three steps of Adam on batches that lie on the device, each dispatched for itself."""
    model = prepare(settings._replace(precision="f32"))
    for batch in batches(settings, cpu=(128, 1000), gpu=(128, 1024, 8192)):
        yield _step(model, batch, settings)


def _step(model: Model, batch: int, settings: Settings) -> Case:
    rows, same = on_both(images(STEPS * batch, model.config["dim"]), "f32")
    run, lowered = step_run(_loss(model), model.params, list(rows.reshape(STEPS, batch, -1)), RATE, settings)
    return Case(
        why=STREAMED,
        label=f"batch {batch}",
        items=STEPS * batch,
        unit="images",
        jax=run,
        torch=training_runs(likelihood(model.module), RATE, lambda: same.split(batch), settings, restart=False),
        tolerance=1e-3,
        flops=STEPS * batch * training_products(model),
        least_bytes=STEPS * ADAM_PASSES * size(model.params),
        targets={"best": 1.8, "limit": 0.75} if batch == 1000 else {},
        lowered=lowered,
    )


def epoch_cases(settings: Settings) -> Iterator[Case]:
    """An epoch of `fit` under one jit, from the same weights each time, the batches in the order of the data."""
    model = prepare(settings._replace(precision="f32"))
    for batch in batches(settings, cpu=(128, 1024, 8192), gpu=(128, 1024, 8192)):
        yield _epoch(model, batch, settings)


def _epoch(model: Model, batch: int, settings: Settings) -> Case:
    large = jax.default_backend() == "gpu"
    # On a GPU at most 128 steps: PyTorch eager takes half a second for them, whatever the batch.
    wanted = 3 * batch if settings.quick else min(49152, 128 * batch) if large else 4096
    count = max(wanted, batch) // batch * batch
    data, same = on_both(images(count, model.config["dim"]), "f32")
    run = fit_run(_loss(model), model.params, data, RATE, settings, batch=batch, epochs=1)
    others = {}
    if not large:
        loop, _ = step_run(
            _loss(model), model.params, list(data.reshape(-1, batch, data.shape[-1])), RATE, settings, restart=True
        )
        others["JAX, a jitted step in a Python loop"] = loop
    return Case(
        why=STREAMED,
        label=f"batch {batch}",
        items=count,
        unit="images",
        jax=run,
        torch=training_runs(likelihood(model.module), RATE, lambda: same.split(batch), settings, restart=True),
        others=others,
        tolerance=1e-3,
        flops=count * training_products(model),
        least_bytes=count // batch * ADAM_PASSES * size(model.params),
    )


def training_products(model: Model) -> int:
    """FLOPs of an image's matrix products in a step: forward, and backward twice that, but for the data's gradient."""
    kernel = model.params["coupling_0"]["dense_0"]["kernel"]
    return 3 * products(model.params) - 2 * int(kernel.size)


def _loss(model: Model) -> Any:
    flow = model.flow

    def loss(params: Any, rows: jax.Array) -> jax.Array:
        return -flow.log_prob(params, rows).mean()

    return loss


STEP = Workload("nice-step", "Adam's steps of the same NICE, each dispatched for itself", step_cases, ALL)
EPOCH = Workload("nice-epoch", "an epoch of the same NICE by mathdnn_jax.training.fit, under one jit", epoch_cases, ALL)
