"""How the cost of NICE grows with the batch, the dimension and the depth, and with the devices that train it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing

import jax
import numpy as np
import optax

from benchmarks.case import COMPARED_STEPS, Case, Contender, Settings, Workload
from benchmarks.frameworks import on_jax, on_torch
from benchmarks.frameworks.train_jax import fit_contender, negative_log_likelihood
from benchmarks.harness.device_process import DeviceProcess
from benchmarks.workloads.networks import size
from benchmarks.workloads.nice_model import images, in_float64, on_both, products
from benchmarks.workloads.training import CLOSE, RATE
from mathdnn_jax.flows import nice
from parity import convert
from parity.models import Config
from parity.reference import NICE

MIDDLE: Config = {"dim": 784, "width": 256, "depth": 3, "couplings": 4}
BATCH = 256
DEVICES = (2, 4)


def cases(settings: Settings) -> Iterator[Case]:
    """Change one size at a time, starting from a NICE of middle size: first log p, then `fit`."""
    middle: Config = {"dim": 8, "width": 8, "depth": 2, "couplings": 2} if settings.quick else MIDDLE
    batch = 8 if settings.quick else BATCH
    for other in settings.batches or ((4,) if settings.quick else (16, 64, BATCH, 1024, 4096)):
        yield _log_prob(middle, other, f"batch {other}")
    for dim in (4,) if settings.quick else (196, 3072, 12288):
        yield _log_prob({**middle, "dim": dim}, batch, f"dimension {dim}, batch {batch}")
    for depth in (1,) if settings.quick else (1, 6, 12):
        yield _log_prob({**middle, "depth": depth}, batch, f"depth {depth}, batch {batch}")
    steps = 3 if settings.quick else 16
    alone = fit_on_devices(**middle, batch=batch, steps=steps, devices=1)
    for devices in DEVICES[:1] if settings.quick else DEVICES:
        arguments: dict[str, int] = {**middle, "batch": batch, "steps": steps, "devices": devices}
        name = f"JAX, {devices} devices"
        if jax.default_backend() != "cpu":
            enough = jax.device_count() >= devices
            others: dict[str, Contender] = {name: fit_on_devices(**arguments)} if enough else {}
            unable = {} if enough else {name: f"this machine has {jax.device_count()}"}
            yield _devices(alone, others, unable, batch, steps, devices)
            continue
        with closing(DeviceProcess(f"{__name__}:fit_on_devices", arguments, devices)) as process:
            yield _devices(alone, {name: process.run}, {}, batch, steps, devices)


def fit_on_devices(
    dim: int, width: int, depth: int, couplings: int, batch: int, steps: int, devices: int
) -> Callable[[], list[float]]:
    """Prepare an epoch of `fit` on a mesh of this many devices; the returned work returns its first losses."""
    flow = nice(dim, width, depth, couplings)
    run = fit_contender(
        negative_log_likelihood(flow),
        flow.init(jax.random.key(0)),
        on_jax.on_device(images(batch * steps, dim)),
        optax.adam(RATE),
        Settings(),
        batch=batch,
        devices=devices,
    )
    return lambda: [float(value) for value in np.asarray(run())[:COMPARED_STEPS]]


def _devices(
    alone: Contender, others: dict[str, Contender], unable: dict[str, str], batch: int, steps: int, devices: int
) -> Case:
    virtual = "virtual " if jax.default_backend() == "cpu" else ""
    return Case(
        label=f"fit, 1 against {devices} {virtual}devices",
        items=batch * steps,
        unit="images",
        jax=alone,
        torch={},
        others=others,
        unable=unable,
        tolerance=CLOSE,
    )


def _log_prob(config: Config, batch: int, label: str) -> Case:
    state = on_torch.draw_state(lambda: NICE(**config), 0)
    module = on_torch.module_with(lambda: NICE(**config), state)
    params, log_prob = on_jax.cast(convert(state), "f32"), jax.jit(nice(**config).log_prob)
    events, same = on_both(images(batch, config["dim"]), "f32")
    return Case(
        label=label,
        items=batch,
        unit="images",
        jax=lambda: log_prob(params, events).block_until_ready(),
        torch={"eager, inference mode": on_torch.inference(lambda: module.log_prob(same))},
        truth=lambda: in_float64(module, same),
        flops=batch * products(params),
        least_bytes=size(params) + events.nbytes,
        lowered=lambda: log_prob.lower(params, events),
    )


WORKLOAD = Workload("growth", "log p of a NICE and its training, as one size grows", cases)
