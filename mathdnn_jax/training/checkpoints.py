"""When a run writes checkpoints, and which of them stay."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from mathdnn_jax.errors import ConfigurationError


class Checkpoints(NamedTuple):
    """Where, when and how many checkpoints of a run are kept.

    - `folder`: made if need be; each checkpoint is a folder in it, named by the number of steps done;
    - `every_epochs`: there is one after so many epochs, and one at the end of the run whenever that is;
    - `every_steps`: if given, after so many steps within each epoch too;
    - `keep`: the last so many stay;
    - `best`: a name in the history's `epochs` ("loss", a metric, or what `evaluate` returns) for which the checkpoint
      with the least value stays too; None keeps only the last;
    - `resume`: False is for a folder without checkpoints; True goes on from the newest, or begins where there is none;
      a number goes on from the checkpoint of that name, the newer ones being moved to the folder `set-aside`;
    - `config`: whatever JSON can hold, to be stored in every checkpoint.
    """

    folder: str | os.PathLike[str]
    every_epochs: int = 1
    every_steps: int | None = None
    keep: int = 3
    best: str | None = None
    resume: bool | int = False
    config: Mapping[str, Any] = {}


def check_checkpoints(settings: Checkpoints) -> None:
    """Raise ConfigurationError unless the settings make sense."""
    counts = {"every_epochs": settings.every_epochs, "every_steps": settings.every_steps, "keep": settings.keep}
    wrong = [f"{name}={value}" for name, value in counts.items() if value is not None and value < 1]
    if wrong:
        raise ConfigurationError(f"checkpoints are counted from one, given {', '.join(wrong)}")
    try:
        json.dumps(settings.config, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ConfigurationError(f"the config of checkpoints is whatever JSON can hold: {error}") from error


def outdated(steps: Sequence[int], values: Mapping[int, float], keep: int) -> list[int]:
    """Those of the checkpoints that need not stay: all but the last `keep`, and the one of least value."""
    staying = set(sorted(steps)[-keep:])
    if values:
        # The earlier of two equals, so that nothing is rewritten for no gain.
        staying.add(min(values, key=lambda step: (values[step], step)))
    return sorted(set(steps) - staying)
