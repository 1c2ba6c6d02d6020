"""The table of `train`: `mathdnn_jax.training.fit` beside a Python loop over a jitted step, and PyTorch eager."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import optax

from benchmarks.case import Settings
from benchmarks.frameworks import on_jax
from benchmarks.frameworks.precision import precision_of_both
from benchmarks.frameworks.train_jax import fit_contender
from benchmarks.harness.device_process import DeviceProcess
from benchmarks.harness.machine import describe_machine
from benchmarks.harness.measure import TimeAllowed, measure
from benchmarks.harness.timing import timed
from benchmarks.workloads import autoencoder, nice_model, nice_training
from benchmarks.workloads.training import RATE, STEP_IN_LOOP, Training, epoch_in_order

BATCHES = {"autoencoder": (32, 100, 400, 1600), "nice": (128,)}
"""Default batch sizes; the course uses 100 and 128."""
TRAININGS: dict[str, Callable[[], Training]] = {
    "autoencoder": autoencoder.training,
    "nice": lambda: nice_training.training(nice_model.prepare(Settings())),
}
CONTENDERS = {"fit": "jax", "loop": STEP_IN_LOOP, "torch": "eager"}
"""The columns of the table, and the contenders of the case that they show."""
SETTINGS = Settings(modes=())


def training_figures(workload: str, batch: int, steps: int, repeat: int) -> dict[str, Any]:
    """Time `steps` steps of Adam, with `repeat` interleaved samples of `fit`, a Python loop and PyTorch eager.

    Raises:
        OutputsDifferError: the contenders' first losses differ; in this case nothing is timed.
    """
    with precision_of_both("f32"):
        case = epoch_in_order(TRAININGS[workload](), batch, steps, SETTINGS, loop=True)
        # Of PyTorch's ways only the first is shown.
        case = case._replace(torch={"eager": case.torch["eager"]})
        found = measure(case, repeat, "f32", allowed=TimeAllowed(budget=math.inf))["contenders"]
    columns = {column: found[contender] for column, contender in CONTENDERS.items()}
    return {
        "workload": workload,
        "batch": batch,
        "steps": steps,
        "repeat": repeat,
        "steps_per_s": {column: steps / figures["median_s"] for column, figures in columns.items()},
        "compile_s": {column: figures["first_call_s"] - figures["median_s"] for column, figures in columns.items()},
        "loop_over_fit": columns["loop"]["ratio"],
        "torch_over_fit": columns["torch"]["ratio"],
        "machine": describe_machine(),
    }


def figures_alone(workload: str, batch: int, steps: int, repeat: int, devices: int) -> dict[str, Any]:
    """Time `fit` in a new process with this many virtual devices, and measure the memory that it needs.

    `memory_bytes` is the growth of the greatest resident size since before the weights and the data were made: data,
    weights, the optimiser's state, temporaries and compiled code. It is None if the system does not report it.
    """
    arguments: dict[str, str | int] = {"workload": workload, "batch": batch, "steps": steps, "devices": devices}
    with closing(DeviceProcess(f"{__name__}:prepare_alone", arguments, devices)) as process:
        answers = [timed(process.run) for _ in range(repeat)]
    return {"seconds": [seconds for _, seconds in answers], "memory_bytes": next(iter(answers[-1][0]), None)}


def prepare_alone(workload: str, batch: int, steps: int, devices: int) -> Callable[[], list[float]]:
    """Prepare the work of the process of `figures_alone`: train, and return the memory needed so far."""
    before = _peak_bytes()
    params, loss, _, images = TRAININGS[workload]()
    data = on_jax.on_device(images(batch * steps))
    train = fit_contender(loss, params, data, optax.adam(RATE), SETTINGS, batch=batch, devices=devices)

    def work() -> list[float]:
        train()
        peak = _peak_bytes()
        return [] if peak is None or before is None else [float(peak - before)]

    return work


def _peak_bytes() -> int | None:
    """Return the greatest resident size of this process; `resource` would include its parent's size at the fork."""
    status = Path("/proc/self/status")
    if not status.exists():
        return None
    peak = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
    return 1024 * int(peak.split()[1])
