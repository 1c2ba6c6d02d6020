"""Training the same model in both frameworks, on batches in the order of the data: whole epochs, or single steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import optax

from benchmarks.case import Case, Settings
from benchmarks.frameworks import on_jax, on_torch
from benchmarks.frameworks.train_jax import Loss, fit_contender, step_contender
from benchmarks.frameworks.train_torch import Objective, training_baselines

STEPS = 3
"""Steps in one run of `steps_one_by_one`: the losses of the second and third depend on the gradients."""
RATE = 1e-3
"""Adam's learning rate."""
STEP_IN_LOOP = "JAX, a jitted step in a Python loop"
CLOSE = 1e-3
"""How far the losses of the first steps may differ, relative to the greatest of them."""


class Training(NamedTuple):
    """A model in both frameworks, with the same weights and the same loss, and images to train it on."""

    params: Any
    loss: Loss
    objective: Objective
    images: Callable[[int], np.ndarray]
    """Returns this many images, float32 (count, …)."""


def epoch_in_order(training: Training, batch: int, steps: int, settings: Settings, *, loop: bool) -> Case:
    """An epoch from the same weights in each run: by `fit` in one dispatch, in PyTorch's ways, and by a Python loop.

    The loop dispatches a jitted step, which donates its state, and waits for results only at the end.
    """
    images = training.images(steps * batch)
    data, same = on_jax.on_device(images), on_torch.on_device(images)
    others = {}
    if loop:
        batches = [data[start : start + batch] for start in range(0, len(data), batch)]
        others[STEP_IN_LOOP], _ = step_contender(training.loss, training.params, batches, RATE, settings, restart=True)
    return Case(
        label=f"batch {batch}",
        items=steps * batch,
        unit="images",
        jax=fit_contender(training.loss, training.params, data, optax.adam(RATE), settings, batch=batch),
        torch=training_baselines(training.objective, RATE, lambda: same.split(batch), settings, restart=True),
        others=others,
        tolerance=CLOSE,
    )


def steps_one_by_one(training: Training, batch: int, settings: Settings) -> Case:
    """`STEPS` steps of Adam on batches that are on the device, each dispatched by itself; a run continues the last."""
    images = training.images(STEPS * batch)
    data, same = on_jax.on_device(images), on_torch.on_device(images)
    batches = list(data.reshape(STEPS, batch, *images.shape[1:]))
    run, lowered = step_contender(training.loss, training.params, batches, RATE, settings)
    return Case(
        label=f"batch {batch}",
        items=STEPS * batch,
        unit="images",
        jax=run,
        torch=training_baselines(training.objective, RATE, lambda: same.split(batch), settings, restart=False),
        tolerance=CLOSE,
        lowered=lowered,
    )
