"""Inpainting by a NICE: many images at once, beside PyTorch's loop and beside one image after another."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch

from benchmarks.case import Case, Contender, Portion, Settings, Workload
from benchmarks.frameworks import on_torch
from benchmarks.workloads.networks import on_cpu, size
from benchmarks.workloads.nice_model import Twins, images, prepare, products
from mathdnn_jax.tasks import corrupt, inpaint, rectangle
from parity.reference.inpaint import inpaint as inpaint_by_torch

STEP_SIZE = 1e-5
"""A hundredth of the course's, with which the loop is chaotic: PyTorch itself, started one ulp off, ends elsewhere."""
STEPS = 300
FEW_STEPS = 30
"""Number of steps if images are also taken one by one; the time of either is proportional to the steps."""
ALONE = 8
"""Number of images that are timed one by one; the time of all images is scaled from theirs."""
ONE_BY_ONE = "one by one, eager"
CLOSE = 1e-3
"""How far log p after the last step may differ, relatively; the steps amplify differences in rounding."""


def cases(settings: Settings) -> Iterator[Case]:
    """`mathdnn_jax.inpaint` of images whose centre is missing, given and returned on the host."""
    model = prepare(settings._replace(precision="f32"))
    if settings.batches is not None:
        plans = [(batch, 4 if settings.quick else STEPS, False) for batch in settings.batches]
    elif settings.quick:
        plans = [(2 * ALONE, 4, True)]
    elif on_cpu():
        plans = [(1, STEPS, False), (64, STEPS, False), (64, FEW_STEPS, True), (256, FEW_STEPS, False)]
    else:
        plans = [(256, FEW_STEPS, True), (256, STEPS, False), (1, STEPS, False)]
    for batch, steps, one_by_one in plans:
        yield _case(model, batch, steps, settings, one_by_one)


def _case(model: Twins, batch: int, steps: int, settings: Settings, one_by_one: bool) -> Case:
    dim = model.config["dim"]
    side = 28 if dim == 28 * 28 else None
    shape = (dim // 2, 2) if side is None else (side, side)
    mask = rectangle(shape, (0, 1), (0, 2)) if side is None else rectangle(shape, (5, 12), (5, 20))
    start = corrupt(images(batch, dim).reshape(batch, *shape), mask)
    events = on_torch.on_device(start.reshape(batch, -1))
    missing = on_torch.on_device(mask.reshape(-1))
    module = model.module.requires_grad_(False)
    log_prob = {"eager": module.log_prob, **on_torch.compiled(module.log_prob, settings)}

    def climb(function: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor) -> torch.Tensor:
        return inpaint_by_torch(function, x, missing, steps=steps, step_size=STEP_SIZE)[1]

    def climbing(function: Callable[[torch.Tensor], torch.Tensor]) -> Contender:
        return lambda: on_torch.finished(climb(function, events))

    def each_alone() -> torch.Tensor:
        return on_torch.finished(torch.cat([climb(module.log_prob, image[None]) for image in events[:ALONE]], 1))

    def run() -> np.ndarray:
        return inpaint(model.flow, model.params, start, mask, steps=steps, step_size=STEP_SIZE).log_prob

    targets = {"best": 1.8} if batch == 64 else {}
    return Case(
        why="on a CPU, products of this few rows run at half the rate of large ones, in both frameworks",
        label=f"{batch} images, {steps} steps",
        items=batch * steps,
        unit="image steps",
        jax=run,
        torch={name: climbing(function) for name, function in log_prob.items()},
        others={ONE_BY_ONE: each_alone} if one_by_one else {},
        portions={ONE_BY_ONE: Portion(batch // ALONE, lambda results: (results[0][:, :ALONE],))} if one_by_one else {},
        tolerance=CLOSE,
        flops=2.0 * steps * batch * products(model.params),
        least_bytes=2.0 * steps * size(model.params),
        targets=targets | ({ONE_BY_ONE: 20.0} if one_by_one and batch == 64 else {}),
    )


WORKLOAD = Workload(
    "inpainting",
    "missing pixels filled in by projected gradient ascent of a NICE's log p, by mathdnn_jax.inpaint",
    cases,
)
