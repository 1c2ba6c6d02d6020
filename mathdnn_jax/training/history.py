"""The history of a training run, its result, and the report after each epoch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from mathdnn_jax.errors import ConfigurationError
from mathdnn_jax.training.batches import Batching, examples_per_step
from mathdnn_jax.training.update import Tree


class History(NamedTuple):
    """What was measured in N steps and in the E completed epochs.

    - `loss`: (N,), the loss of every step before its update;
    - `metrics`: the other values returned by the loss, each (N,);
    - `examples`: int64 (N,), the number of examples that count in each step;
    - `epochs`: the "loss" and the metrics of every epoch, averaged with weights `examples`, and the values returned by
      `evaluate` at its end; each float64 (E,), NaN where there is no value.
    """

    loss: np.ndarray
    metrics: dict[str, np.ndarray]
    examples: np.ndarray
    epochs: dict[str, np.ndarray]


class FitResult(NamedTuple):
    """A trained model.

    - `params`: the final parameters; `ema`: their exponential moving average, or None if it was not requested;
    - `state`: the mutable state, or None for a model without one;
    - `optimizer_state`: the final state of the optimiser;
    - `history`: the history of the whole run, including the part before it was resumed;
    - `step`, `epoch`: the total numbers of completed steps and epochs;
    - `stopped`: whether the callback ended the run early.
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
    """What a callback receives at the end of an epoch.

    - `epoch`: the number of completed epochs; `epochs`: their total number; `step`: the number of completed steps;
    - `metrics`: the mean "loss" and metrics of this epoch, and the values returned by `evaluate`;
    - `examples`: the number of examples that counted in this epoch;
    - `seconds`: its duration, which includes compilation in the first epoch;
    - `params()`, `ema()`, `state()`: return copies, made when called, which the caller may keep.
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


class HistoryBuilder:
    """Builds the history of a run whose length is known."""

    def __init__(self, batching: Batching, epochs: int) -> None:
        self._batching = batching
        self._epochs = epochs
        self._by_step: dict[str, np.ndarray] = {}
        self._by_epoch: dict[str, np.ndarray] = {}
        self.step = 0

    def add(self, values: Mapping[str, Any]) -> None:
        """Append the "loss" and the metrics of the next steps, each (steps,); the names are the same every time."""
        stop = self.step
        for name, value in values.items():
            array = np.asarray(value)
            stop = self.step + len(array)
            whole = self._by_step.setdefault(name, np.empty(self._batching.per_epoch * self._epochs, array.dtype))
            whole[self.step : stop] = array
        for epoch in range(self.step // self._batching.per_epoch, stop // self._batching.per_epoch):
            steps = np.arange(epoch * self._batching.per_epoch, (epoch + 1) * self._batching.per_epoch)
            weights = examples_per_step(self._batching, steps)
            self.add_epoch_values(
                epoch,
                {
                    name: float(np.average(whole[steps].astype(np.float64), weights=weights))
                    for name, whole in self._by_step.items()
                },
            )
        self.step = stop

    def add_epoch_values(self, epoch: int, values: Mapping[str, float]) -> None:
        """Add values of a whole epoch.

        Raises:
            ConfigurationError: The epoch already has a value of the same name.
        """
        for name, value in values.items():
            whole = self._by_epoch.setdefault(name, np.full(self._epochs, np.nan))
            if not np.isnan(whole[epoch]):
                raise ConfigurationError(f"evaluate must return names that the loss does not use, given {name!r}")
            whole[epoch] = value

    def epoch_values(self, epoch: int) -> dict[str, float]:
        """All values of an epoch."""
        return {name: float(whole[epoch]) for name, whole in self._by_epoch.items() if not np.isnan(whole[epoch])}

    def history(self) -> History:
        """The history so far."""
        ended = self.step // self._batching.per_epoch
        by_step = {name: whole[: self.step].copy() for name, whole in self._by_step.items()}
        return History(
            loss=by_step.pop("loss", np.empty(0)),
            metrics=by_step,
            examples=examples_per_step(self._batching, np.arange(self.step)),
            epochs={name: whole[:ended].copy() for name, whole in self._by_epoch.items()},
        )

    def restore(self, history: History) -> None:
        """Start from the history of the resumed run."""
        self.step = len(history.loss)
        for name, values in {"loss": history.loss, **history.metrics}.items():
            whole = np.empty(self._batching.per_epoch * self._epochs, values.dtype)
            whole[: self.step] = values
            self._by_step[name] = whole
        for name, values in history.epochs.items():
            self._by_epoch[name] = np.concatenate([values, np.full(self._epochs - len(values), np.nan)])
