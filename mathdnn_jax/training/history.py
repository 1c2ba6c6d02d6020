"""What a run leaves behind, and what it tells on the way."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from mathdnn_jax.errors import ConfigurationError
from mathdnn_jax.training.batches import Batches, counted
from mathdnn_jax.training.update import Tree


class History(NamedTuple):
    """What was measured in N steps and in the E epochs that were ended.

    - `loss`: (N,), of every step, before its update;
    - `metrics`: likewise whatever else the loss returned, each (N,);
    - `examples`: int64 (N,), how many examples of a step count;
    - `epochs`: "loss" and metrics of every epoch, their mean weighted by `examples`, and what `evaluate` returned at
      its end; each float64 (E,), NaN where there is none.
    """

    loss: np.ndarray
    metrics: dict[str, np.ndarray]
    examples: np.ndarray
    epochs: dict[str, np.ndarray]


class FitResult(NamedTuple):
    """A trained model.

    - `params`, and their exponential moving average `ema`, None unless asked for;
    - `state`: the mutable state, None for a model without;
    - `optimizer_state`;
    - `history`: of the whole run, also where it was resumed;
    - `step`, `epoch`: how many of each were done in all;
    - `stopped`: whether the callback ended the run before its time.
    """

    params: Tree
    ema: Tree
    state: Tree
    optimizer_state: Tree
    history: History
    step: int
    epoch: int
    stopped: bool


class EpochReport(NamedTuple):
    """What a callback is told at the end of an epoch.

    - `epoch`: how many are done; `epochs`: how many there will be; `step`: how many steps are done;
    - `metrics`: mean "loss" and metrics of this epoch, and what `evaluate` returned;
    - `examples`: how many examples counted in this epoch;
    - `seconds`: how long it took, in the first epoch with compilation;
    - `params()`, `ema()`, `state()`: copies, made when called, for the caller to keep.
    """

    epoch: int
    epochs: int
    step: int
    metrics: dict[str, float]
    examples: int
    seconds: float
    params: Callable[[], Tree]
    ema: Callable[[], Tree]
    state: Callable[[], Tree]


class Record:
    """A history in the making, of a run whose length is known."""

    def __init__(self, cut: Batches, epochs: int) -> None:
        self._cut = cut
        self._epochs = epochs
        self._by_step: dict[str, np.ndarray] = {}
        self._by_epoch: dict[str, np.ndarray] = {}
        self.step = 0

    def add(self, values: Mapping[str, Any]) -> None:
        """Append what the next steps told: "loss" and metrics, each (steps,), under the same names every time."""
        stop = self.step
        for name, value in values.items():
            array = np.asarray(value)
            stop = self.step + len(array)
            whole = self._by_step.setdefault(name, np.empty(self._cut.per_epoch * self._epochs, array.dtype))
            whole[self.step : stop] = array
        for epoch in range(self.step // self._cut.per_epoch, stop // self._cut.per_epoch):
            steps = np.arange(epoch * self._cut.per_epoch, (epoch + 1) * self._cut.per_epoch)
            weights = counted(self._cut, steps)
            self.evaluated(
                epoch,
                {
                    name: float(np.average(whole[steps].astype(np.float64), weights=weights))
                    for name, whole in self._by_step.items()
                },
            )
        self.step = stop

    def evaluated(self, epoch: int, values: Mapping[str, float]) -> None:
        """Note values of a whole epoch.

        Raises:
            ConfigurationError: one of a name has been noted already.
        """
        for name, value in values.items():
            whole = self._by_epoch.setdefault(name, np.full(self._epochs, np.nan))
            if not np.isnan(whole[epoch]):
                raise ConfigurationError(f"evaluate returns names that the loss does not use, given {name!r}")
            whole[epoch] = value

    def of_epoch(self, epoch: int) -> dict[str, float]:
        """All that was noted of an epoch."""
        return {name: float(whole[epoch]) for name, whole in self._by_epoch.items() if not np.isnan(whole[epoch])}

    def history(self) -> History:
        """What there is so far."""
        ended = self.step // self._cut.per_epoch
        by_step = {name: whole[: self.step].copy() for name, whole in self._by_step.items()}
        return History(
            loss=by_step.pop("loss", np.empty(0)),
            metrics=by_step,
            examples=counted(self._cut, np.arange(self.step)),
            epochs={name: whole[:ended].copy() for name, whole in self._by_epoch.items()},
        )

    def restore(self, history: History) -> None:
        """Begin with another run's history in place of an empty one."""
        self.step = len(history.loss)
        for name, values in {"loss": history.loss, **history.metrics}.items():
            whole = np.empty(self._cut.per_epoch * self._epochs, values.dtype)
            whole[: self.step] = values
            self._by_step[name] = whole
        for name, values in history.epochs.items():
            self._by_epoch[name] = np.concatenate([values, np.full(self._epochs - len(values), np.nan)])
