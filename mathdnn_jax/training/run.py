"""The loop of a training run, from its first step or from a checkpoint to its last."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from mathdnn_jax.errors import (
    ConfigurationError,
    DivergedError,
    OutputError,
    TrainingStoppedError,
    UnsavedError,
)
from mathdnn_jax.training.batches import Batching, examples_per_step
from mathdnn_jax.training.checkpoints import Checkpoints, check_checkpoints
from mathdnn_jax.training.feed import Feed, feed
from mathdnn_jax.training.folder import CheckpointFolder
from mathdnn_jax.training.history import EpochReport, FitResult, HistoryBuilder
from mathdnn_jax.training.placement import carry_shardings, check_mesh, place, place_leaf
from mathdnn_jax.training.plan import Plan
from mathdnn_jax.training.processes import agreed, lost_processes_named
from mathdnn_jax.training.program import Carry, ProgramKey
from mathdnn_jax.training.update import Tree, Update

MAX_STEPS_PER_DISPATCH = 10_000
"""Maximum length of a dispatch: enough steps to hide its cost, and few enough to waste after a run has diverged."""

MOST_STEPS = 2**31 - 1
"""Maximum length of a run: steps are numbered in int32."""

Evaluate = Callable[[Tree, Tree], Mapping[str, Any]]
Callback = Callable[[EpochReport], bool | None]


class Run(NamedTuple):
    """The configuration of a run, apart from its initial values."""

    update: Update
    batching: Batching
    epochs: int
    ema_decay: float | None
    mesh: Mesh | None


class Start(NamedTuple):
    """The initial values of a run."""

    params: Tree
    state: Tree
    param_specs: Tree
    key: jax.Array


class Observers(NamedTuple):
    """Everything that happens between the dispatches of a run: evaluation, callback, checkpoints, a request to stop."""

    evaluate: Evaluate | None
    callback: Callback | None
    checkpoints: Checkpoints | None
    stop: Callable[[], bool] | None = None


def train(run: Run, start: Start, data: Tree, observers: Observers) -> FitResult:
    """Run the training loop; see `fit`."""
    check_mesh(run.mesh, run.batching.size)
    key = start.key
    if not jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
        key = jax.random.wrap_key_data(key)
    carry, program_key = _prepare(run, start, str(jax.random.key_impl(key)))
    if observers.checkpoints is None:
        with lost_processes_named():
            return _Loop(run, observers, carry, None).go(program_key, data, key)
    check_checkpoints(observers.checkpoints)
    identity = {
        "examples": run.batching.examples,
        "batch_size": run.batching.size,
        "remainder": run.batching.remainder,
        "shuffle": run.batching.shuffle,
        "ema_decay": run.ema_decay,
        "key": np.asarray(jax.random.key_data(key)).tolist(),
        "key_impl": str(jax.random.key_impl(key)),
    }
    folder = CheckpointFolder(observers.checkpoints, identity)
    try:
        with lost_processes_named():
            return _Loop(run, observers, carry, folder).go(program_key, data, key)
    finally:
        folder.close()


def _prepare(run: Run, start: Start, key_impl: str) -> tuple[Carry, ProgramKey]:
    """The initial carry, in its own memory, and the key of the program to compile."""
    ema = None if run.ema_decay is None else start.params
    carry = Carry(start.params, ema, start.state, run.update.init(start.params), jnp.asarray(True))
    if run.mesh is None:
        if start.param_specs is not None:
            raise ConfigurationError("param_specs spread parameters over a mesh: pass the mesh too")
        return place(carry, None), ProgramKey(run.update, run.batching, run.ema_decay, key_impl, None, None)
    shardings = carry_shardings(carry, start.param_specs, run.mesh)
    leaves, structure = jax.tree.flatten(shardings)
    program_key = ProgramKey(run.update, run.batching, run.ema_decay, key_impl, run.mesh, (structure, tuple(leaves)))
    return jax.tree.map(place_leaf, carry, shardings), program_key


class _Loop:
    """Runs dispatch after dispatch, with the host's work in between."""

    def __init__(self, run: Run, observers: Observers, carry: Carry, folder: CheckpointFolder | None) -> None:
        self._run, self._observers, self._carry, self._folder = run, observers, carry, folder
        self._history = HistoryBuilder(run.batching, run.epochs)
        self._stopped: bool = False
        self._epoch_start = time.perf_counter()

    def go(self, program_key: ProgramKey, data: Tree, key: jax.Array) -> FitResult:
        """Complete the run."""
        self._resume()
        if not self._stopped and self._history.step < self._plan().steps:
            self._train(feed(program_key, data, key, self._history.step, self._plan().steps))
        self._finish()
        return self._result()

    def _train(self, advance: Feed) -> None:
        for first, stop in self._plan().dispatches(self._history.step):
            self._carry, measured, alive = advance(self._carry, first, stop)
            if not alive[-1]:
                self._diverged(measured, int(np.argmin(alive)))
            self._history.add(measured)
            if stop % self._run.batching.per_epoch == 0 and self._observed():
                self._end_epoch(stop // self._run.batching.per_epoch)
            asked = stop < self._plan().steps and not self._stopped and self._asked_to_stop()
            self._save(stop, asked)
            if asked:
                self._stop_as_asked()
            if self._stopped:
                return

    def _plan(self) -> Plan:
        settings = self._observers.checkpoints
        every_epochs = None if settings is None else settings.every_epochs
        return Plan(
            per_epoch=self._run.batching.per_epoch,
            epochs=self._run.epochs,
            every_epochs=1 if self._observed() or self._observers.stop is not None else every_epochs,
            every_steps=None if settings is None else settings.every_steps,
            max_steps=MAX_STEPS_PER_DISPATCH,
        )

    def _observed(self) -> bool:
        return self._observers.evaluate is not None or self._observers.callback is not None

    def _resume(self) -> None:
        restored = None if self._folder is None else self._folder.restore(self._carry)
        if restored is None:
            return
        if restored.step > self._plan().steps:
            raise ConfigurationError(
                f"the checkpoint has completed {restored.step} steps, more than the {self._plan().steps} of "
                f"{self._run.epochs} epochs: pass at least as many epochs as before"
            )
        self._carry, self._stopped = restored.carry, restored.stopped
        self._history.restore(restored.history)

    def _end_epoch(self, epoch: int) -> None:
        carry = self._carry
        if self._observers.evaluate is not None:
            params = carry.params if carry.ema is None else carry.ema
            values = self._observers.evaluate(params, carry.state)
            self._history.add_epoch_values(epoch - 1, {name: float(value) for name, value in values.items()})
        now = time.perf_counter()
        if self._observers.callback is not None:
            per_epoch = self._run.batching.per_epoch
            report = EpochReport(
                epoch=epoch,
                epochs=self._run.epochs,
                step=self._history.step,
                metrics=self._history.epoch_values(epoch - 1),
                examples=int(examples_per_step(self._run.batching, np.arange(per_epoch)).sum()),
                seconds=now - self._epoch_start,
                params=lambda: _copy(carry.params),
                ema=lambda: _copy(carry.ema),
                state=lambda: _copy(carry.state),
            )
            self._stopped = self._observers.callback(report) is True
        self._epoch_start = time.perf_counter()

    def _asked_to_stop(self) -> bool:
        return self._observers.stop is not None and agreed(bool(self._observers.stop()))

    def _stop_as_asked(self) -> None:
        self._finish()
        step, last = self._history.step, None if self._folder is None else self._folder.last
        epoch = step // self._run.batching.per_epoch
        raise TrainingStoppedError(
            f"training was asked to stop, and did after step {step}, in which {epoch} of {self._run.epochs} epochs are "
            f"complete; {f'continue from {last} with resume=True' if last else 'no checkpoint was asked for'}. The "
            "parameters are in this error's `result`",
            step=step,
            epoch=epoch,
            checkpoint=last,
            result=self._result(),
        )

    def _save(self, step: int, asked: bool = False) -> None:
        settings = self._observers.checkpoints
        if self._folder is None or settings is None:
            return
        epoch, within = divmod(step, self._run.batching.per_epoch)
        due = step == self._plan().steps or self._stopped or asked
        if within == 0:
            due |= epoch % settings.every_epochs == 0 or settings.every_steps is not None
        else:
            due |= settings.every_steps is not None
        if not due:
            return
        value = None
        if settings.best is not None and within == 0:
            values = self._history.epoch_values(epoch - 1)
            if settings.best not in values:
                raise ConfigurationError(f"best={settings.best!r} is not a value of an epoch: {sorted(values)}")
            value = values[settings.best]
        try:
            self._folder.save(step, self._carry, self._history.history(), stopped=self._stopped, value=value)
        except OutputError as error:
            raise UnsavedError(str(error), checkpoint=self._folder.last, result=self._result()) from error

    def _finish(self) -> None:
        if self._folder is None:
            return
        try:
            self._folder.finish()
        except OutputError as error:
            raise UnsavedError(str(error), checkpoint=self._folder.last, result=self._result()) from error

    def _diverged(self, measured: dict[str, np.ndarray], good: int) -> None:
        value = float(measured["loss"][good])
        self._history.add({name: values[:good] for name, values in measured.items()})
        self._finish()
        step = self._history.step
        epoch, batch = divmod(step, self._run.batching.per_epoch)
        last: Path | None = None if self._folder is None else self._folder.last
        what = "a gradient that is not finite" if np.isfinite(value) else f"a loss of {value}"
        raise DivergedError(
            f"training diverged: {what} in step {step} (batch {batch} of epoch {epoch}, counted from 0); "
            f"{f'the last good checkpoint is {last}' if last else 'there is no checkpoint'}. The parameters before "
            "that step are in this error's `result`; try a smaller learning rate, or clip_norm",
            step=step,
            epoch=epoch,
            batch=batch,
            checkpoint=last,
            result=self._result(),
        )

    def _result(self) -> FitResult:
        step = self._history.step
        carry = self._carry
        return FitResult(
            params=carry.params,
            ema=carry.ema,
            state=carry.state,
            optimizer_state=carry.optimizer_state,
            history=self._history.history(),
            step=step,
            epoch=step // self._run.batching.per_epoch,
            stopped=self._stopped,
        )


def _copy(tree: Tree) -> Tree:
    return jax.tree.map(lambda leaf: jnp.array(leaf, copy=True), tree)
