"""Short runs with everything that a checkpoint holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax.numpy as jnp

from mathdnn_jax.training import Checkpoints, FitResult, fit

from .lines import BATCH, DATA, KEY, OPTIMIZER, counting_loss, start

EPOCHS = 4
STATE = {"steps": jnp.int32(0), "mean": jnp.zeros(3)}


class Killed(BaseException):
    """Simulates the end of the process."""


def run(folder: Path | None = None, *, until: int | None = None, **changes: Any) -> FitResult:
    """A run that writes checkpoints to a folder, if there is one, and is killed after the epoch `until`."""

    def callback(report: Any) -> bool:
        if until is not None and report.epoch == until:
            raise Killed
        return False

    settings = {name: changes.pop(name) for name in Checkpoints._fields if name in changes}
    checkpoints = None if folder is None else Checkpoints(folder, **settings)
    arguments: dict[str, Any] = {"epochs": EPOCHS, "batch_size": BATCH, "key": KEY, "ema_decay": 0.9, "state": STATE}
    arguments |= {"callback": callback, "checkpoints": checkpoints} | changes
    chosen = [arguments.pop(name, default) for name, default in
              (("loss", counting_loss), ("params", start()), ("data", DATA), ("optimizer", OPTIMIZER))]  # fmt: skip
    return fit(*chosen, **arguments)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())
