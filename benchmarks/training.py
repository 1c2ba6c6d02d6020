"""Training: `mathdnn_jax.training.fit` beside a Python loop over a jitted step, and beside PyTorch eager."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from benchmarks.errors import OutputsDifferError
from benchmarks.frameworks import on_jax, on_torch
from benchmarks.frameworks.train_jax import Loss, fit_run, step_run
from benchmarks.frameworks.train_torch import Objective, likelihood, training_runs
from benchmarks.harness.machine import describe_machine
from benchmarks.harness.timing import interleaved, ratios, spread, timed
from benchmarks.harness.worker import Worker
from benchmarks.harness.workload import Settings
from mathdnn_jax.flows import nice
from mathdnn_jax.generative import autoencoder
from mathdnn_jax.training import device_mesh
from parity import convert
from parity.reference import NICE, Autoencoder

RATE = 1e-3
DIM = 784
BATCHES = {"autoencoder": (32, 100, 400, 1600), "nice": (128,)}
"""The seeds' own are 100 and 128."""
AGREE = 1e-3
"""How far the losses of the first steps of two float32 programs may be apart, relative to their size."""
SETTINGS = Settings(modes=())


class Work(NamedTuple):
    """A model to train in both frameworks: the same weights, the same losses."""

    params: Any
    loss: Loss
    objective: Objective


def autoencoder_work() -> Work:
    """The seed's autoencoder (002 P1), mean squared error."""
    twin, model = Autoencoder(), autoencoder()
    return Work(
        _converted(twin, "autoencoder"),
        lambda params, rows: model.reconstruction_error(params, rows).mean(),
        Objective(twin, lambda module, rows: nn.functional.mse_loss(module(rows), rows)),
    )


def nice_work() -> Work:
    """The seed's NICE (000 Q3), by maximum likelihood."""
    twin, flow = NICE(), nice()
    return Work(_converted(twin, "nice"), lambda params, rows: -flow.log_prob(params, rows).mean(), likelihood(twin))


WORKLOADS: dict[str, Callable[[], Work]] = {"autoencoder": autoencoder_work, "nice": nice_work}


def measure(workload: str, batch: int, steps: int, repeat: int) -> dict[str, Any]:
    """Seconds of `steps` steps of Adam, by `repeat` interleaved triples of `fit`, a Python loop and PyTorch eager.

    Every contender trains from the same weights on the same batches, in memory beforehand. `fit` is one dispatch,
    with its own setting up; the loop dispatches a jitted step that donates its state, and waits at the end alone.

    Raises:
        OutputsDifferError: their first losses differ; then nothing was repeated.
    """
    torch.manual_seed(0)
    with on_jax.highest_precision(), on_torch.highest_precision():
        work, data = WORKLOADS[workload](), _data(batch, steps)
        on_device, there = on_jax.on_device(data), on_torch.on_device(data)
        batches = [on_device[start : start + batch] for start in range(0, len(data), batch)]
        contenders = {
            "fit": fit_run(work.loss, work.params, on_device, RATE, SETTINGS, batch=batch, epochs=1),
            "loop": step_run(work.loss, work.params, batches, RATE, SETTINGS, restart=True)[0],
            "torch": training_runs(work.objective, RATE, lambda: there.split(batch), SETTINGS, restart=True)["eager"],
        }
        first = {name: timed(contender) for name, contender in contenders.items()}
        _check({name: np.asarray(losses) for name, (losses, _) in first.items()})
        seconds = interleaved(contenders, repeat)
    medians = {name: spread(times).median for name, times in seconds.items()}
    return {
        "workload": workload,
        "batch": batch,
        "steps": steps,
        "repeat": repeat,
        "steps_per_s": {name: steps / median for name, median in medians.items()},
        "compile_s": {name: taken - medians[name] for name, (_, taken) in first.items()},
        "loop_over_fit": spread(ratios(seconds["loop"], seconds["fit"]))._asdict(),
        "torch_over_fit": spread(ratios(seconds["torch"], seconds["fit"]))._asdict(),
        "machine": describe_machine(),
    }


def measure_alone(workload: str, batch: int, steps: int, repeat: int, devices: int) -> dict[str, Any]:
    """`fit` in a process of its own: seconds of each run on so many virtual devices, and the memory it comes to need.

    `memory_bytes` is the greatest resident size over what the process had before the weights and the data were made:
    data, weights, the optimiser's state, temporaries and compiled code. None where the system does not tell.
    """
    arguments: dict[str, str | int] = {"workload": workload, "batch": batch, "steps": steps, "devices": devices}
    with closing(Worker(f"{__name__}:prepare_alone", arguments, devices)) as worker:
        answers = [timed(worker.run) for _ in range(repeat)]
    return {"seconds": [seconds for _, seconds in answers], "memory_bytes": next(iter(answers[-1][0]), None)}


def prepare_alone(workload: str, batch: int, steps: int, devices: int) -> Callable[[], list[float]]:
    """What the process of `measure_alone` does at each turn: train, and say how much memory it has come to need."""
    before = _peak_bytes()
    torch.manual_seed(0)
    work = WORKLOADS[workload]()
    mesh = device_mesh(data=devices) if devices > 1 else None
    data = on_jax.on_device(_data(batch, steps))
    train = fit_run(work.loss, work.params, data, RATE, SETTINGS, batch=batch, epochs=1, mesh=mesh)

    def turn() -> list[float]:
        train()
        peak = _peak_bytes()
        return [] if peak is None or before is None else [float(peak - before)]

    return turn


def _converted(twin: nn.Module, model: str) -> Any:
    variables = convert({name: tensor.numpy().copy() for name, tensor in twin.state_dict().items()}, model)
    return on_jax.cast(variables.get("params", variables), "f32")


def _data(batch: int, steps: int) -> np.ndarray:
    return np.random.default_rng(0).random((steps * batch, DIM), dtype=np.float32)


def _peak_bytes() -> int | None:
    """The greatest resident size of this process alone; `resource` would count what its parent had when it forked."""
    status = Path("/proc/self/status")
    if not status.exists():
        return None
    peak = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
    return 1024 * int(peak.split()[1])


def _check(losses: dict[str, np.ndarray]) -> None:
    expected = losses["torch"]
    for name, values in losses.items():
        worst = float(np.max(np.abs(values - expected) / np.abs(expected)))
        if not worst <= AGREE:
            raise OutputsDifferError(f"the first losses of {name} differ from PyTorch's by {worst:.2g}, relatively")
