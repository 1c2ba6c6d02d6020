"""Drawing any number of samples in the memory that there is."""

from __future__ import annotations

import contextlib
import math
from pathlib import Path

import jax
import numpy as np

from mathdnn_jax.cli.run_folder import TrainedRun
from mathdnn_jax.errors import ConfigurationError

TOGETHER = 500
"""The number of samples that are drawn at a time, so that memory does not grow with their number."""
MOST_PICTURED = 4096
"""The greatest number of images in one picture."""
CGROUP_LIMIT, CGROUP_USE = Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")


def draw_samples(run: TrainedRun, key: jax.Array, count: int, temperature: float, *, pictured: bool) -> np.ndarray:
    """Draw (count, *image_shape) samples; more than `TOGETHER` are drawn in parts, each with its own key.

    Raises:
        ConfigurationError: The model cannot draw samples, or so many fit neither the memory nor, with `pictured`, a
            picture.
    """
    draw = run.task.sample
    if draw is None:
        raise ConfigurationError(f"the model {run.model} cannot draw samples; flows, VAEs and GANs can")
    if pictured and run.image_shape and count > MOST_PICTURED:
        raise ConfigurationError(
            f"given {count} samples for a picture, which holds at most {MOST_PICTURED}: draw fewer, or write an array "
            "with -o samples.npy"
        )
    needed, free = 4 * count * math.prod(run.image_shape), available_memory()
    if free is not None and needed > free // 2:
        most = free // 8 // math.prod(run.image_shape)
        raise ConfigurationError(
            f"given {count} samples, which take {needed / 2**30:.3g} GiB of memory, more than half of the "
            f"{free / 2**30:.3g} GiB available: draw at most {most} at a time, with different seeds"
        )
    if count <= TOGETHER:
        return draw(run.params, run.state, key, count, temperature)
    drawn = np.empty((count, *run.image_shape), np.float32)
    for k, start in enumerate(range(0, count, TOGETHER)):
        part = draw(run.params, run.state, jax.random.fold_in(key, k), TOGETHER, temperature)
        drawn[start : start + TOGETHER] = part[: count - start]
    return drawn


def available_memory() -> int | None:
    """The bytes that this process may still allocate, by the system and its container; None if that is unknown."""
    found = []
    with contextlib.suppress(OSError, ValueError, KeyError):  # not Linux
        lines = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
        found.append(int(lines["MemAvailable"].split()[0]) * 1024)
    with contextlib.suppress(OSError, ValueError):  # no container, or one without a limit
        found.append(int(CGROUP_LIMIT.read_text()) - int(CGROUP_USE.read_text()))
    return min(found, default=None)
