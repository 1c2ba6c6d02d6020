"""When a run writes checkpoints, and which of them are kept."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from mathdnn_jax.errors import ConfigurationError


class Checkpoints(NamedTuple):
    """Where a run writes its checkpoints, how often, and how many are kept.

    - `folder`: created if it does not exist; each checkpoint is a subfolder named by the number of completed steps;
    - `every_epochs`: a checkpoint is written after every `every_epochs` epochs, and always at the end of the run;
    - `every_steps`: if given, a checkpoint is also written after every `every_steps` steps within an epoch;
    - `keep`: the number of most recent checkpoints that are kept;
    - `best`: the name of an entry of the history's `epochs` ("loss", a metric, or a value returned by `evaluate`); the
      checkpoint with its lowest value is kept as well. With None, only the most recent ones are kept;
    - `resume`: False requires a folder without checkpoints. True continues from the newest checkpoint, or starts anew
      if there is none. A number continues from the checkpoint of that name, and newer ones are moved to the folder
      `set-aside`;
    - `config`: any JSON-serialisable mapping, stored in every checkpoint.
    """

    folder: str | os.PathLike[str]
    every_epochs: int = 1
    every_steps: int | None = None
    keep: int = 3
    best: str | None = None
    resume: bool | int = False
    config: Mapping[str, Any] = {}


def check_checkpoints(settings: Checkpoints) -> None:
    """Raise ConfigurationError unless the settings are valid."""
    counts = {"every_epochs": settings.every_epochs, "every_steps": settings.every_steps, "keep": settings.keep}
    wrong = [f"{name}={value}" for name, value in counts.items() if value is not None and value < 1]
    if wrong:
        raise ConfigurationError(f"given {', '.join(wrong)}: intervals and numbers of checkpoints must be at least 1")
    try:
        json.dumps(settings.config, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ConfigurationError(f"the config of checkpoints must be serialisable as JSON: {error}") from error


def outdated(steps: Sequence[int], values: Mapping[int, float], keep: int) -> list[int]:
    """The checkpoints that can be deleted: all but the last `keep` and the one with the lowest value."""
    kept = set(sorted(steps)[-keep:])
    if values:
        # Of two equal values the earlier one is kept, so that a tie does not replace the best checkpoint.
        kept.add(min(values, key=lambda step: (values[step], step)))
    return sorted(set(steps) - kept)
