"""A run from its first step, or the one it was killed at, to its last."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from mathdnn_jax.errors import ConfigurationError, DivergedError, OutputError, UnsavedError
from mathdnn_jax.training.batches import Batches, counted
from mathdnn_jax.training.checkpoints import Checkpoints, check_checkpoints
from mathdnn_jax.training.feed import Feed, feed
from mathdnn_jax.training.folder import CheckpointFolder
from mathdnn_jax.training.history import EpochReport, FitResult, Record
from mathdnn_jax.training.placement import carry_shardings, check_mesh, place, place_leaf
from mathdnn_jax.training.plan import Plan
from mathdnn_jax.training.program import Carry, Recipe
from mathdnn_jax.training.update import Tree, Update

STEPS_TOGETHER = 10_000
"""Steps of one dispatch where nobody watches: enough to hide the dispatch, few enough to waste once a run diverged."""

Evaluate = Callable[[Tree, Tree], Mapping[str, Any]]
Callback = Callable[[EpochReport], bool | None]


class Run(NamedTuple):
    """What is done to the parameters, apart from where they start."""

    update: Update
    cut: Batches
    epochs: int
    ema_decay: float | None
    mesh: Mesh | None


class Start(NamedTuple):
    """Where a run starts."""

    params: Tree
    state: Tree
    param_specs: Tree
    key: jax.Array


class Watch(NamedTuple):
    """Who looks on."""

    evaluate: Evaluate | None
    callback: Callback | None
    checkpoints: Checkpoints | None


def train(run: Run, start: Start, data: Tree, watch: Watch) -> FitResult:
    """As `fit`, which describes it."""
    check_mesh(run.mesh, run.cut.size)
    key = start.key
    if not jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
        key = jax.random.wrap_key_data(key)
    carry, recipe = _prepare(run, start, str(jax.random.key_impl(key)))
    if watch.checkpoints is None:
        return _Loop(run, watch, carry, None).go(recipe, data, key)
    check_checkpoints(watch.checkpoints)
    identity = {
        "examples": run.cut.examples,
        "batch_size": run.cut.size,
        "remainder": run.cut.remainder,
        "shuffle": run.cut.shuffle,
        "ema_decay": run.ema_decay,
        "key": np.asarray(jax.random.key_data(key)).tolist(),
        "key_impl": str(jax.random.key_impl(key)),
    }
    folder = CheckpointFolder(watch.checkpoints, identity)
    try:
        return _Loop(run, watch, carry, folder).go(recipe, data, key)
    finally:
        folder.close()


def _prepare(run: Run, start: Start, key_impl: str) -> tuple[Carry, Recipe]:
    """The first carry, in memory of its own, and what to compile."""
    ema = None if run.ema_decay is None else start.params
    carry = Carry(start.params, ema, start.state, run.update.init(start.params), jnp.asarray(True))
    if run.mesh is None:
        if start.param_specs is not None:
            raise ConfigurationError("param_specs spread parameters over a mesh: give the mesh too")
        return place(carry, None), Recipe(run.update, run.cut, run.ema_decay, key_impl, None, None)
    shardings = carry_shardings(carry, start.param_specs, run.mesh)
    leaves, structure = jax.tree.flatten(shardings)
    recipe = Recipe(run.update, run.cut, run.ema_decay, key_impl, run.mesh, (structure, tuple(leaves)))
    return jax.tree.map(place_leaf, carry, shardings), recipe


class _Loop:
    """Dispatch after dispatch, with what the host does between them."""

    def __init__(self, run: Run, watch: Watch, carry: Carry, folder: CheckpointFolder | None) -> None:
        self._run, self._watch, self._carry, self._folder = run, watch, carry, folder
        self._record = Record(run.cut, run.epochs)
        self._stopped: bool = False
        self._began = time.perf_counter()

    def go(self, recipe: Recipe, data: Tree, key: jax.Array) -> FitResult:
        """Do what is left of the run."""
        self._resume()
        if not self._stopped and self._record.step < self._plan().steps:
            self._train(feed(recipe, data, key, self._record.step, self._plan().steps))
        self._finish()
        return self._result()

    def _train(self, advance: Feed) -> None:
        for first, stop in self._plan().dispatches(self._record.step):
            self._carry, told, alive = advance(self._carry, first, stop)
            if not alive[-1]:
                self._diverged(told, int(np.argmin(alive)))
            self._record.add(told)
            if stop % self._run.cut.per_epoch == 0 and self._watched():
                self._end_epoch(stop // self._run.cut.per_epoch)
            self._save(stop)
            if self._stopped:
                return

    def _plan(self) -> Plan:
        settings = self._watch.checkpoints
        every_epochs = None if settings is None else settings.every_epochs
        return Plan(
            per_epoch=self._run.cut.per_epoch,
            epochs=self._run.epochs,
            every_epochs=1 if self._watched() else every_epochs,
            every_steps=None if settings is None else settings.every_steps,
            most=STEPS_TOGETHER,
        )

    def _watched(self) -> bool:
        return self._watch.evaluate is not None or self._watch.callback is not None

    def _resume(self) -> None:
        restored = None if self._folder is None else self._folder.restore(self._carry)
        if restored is None:
            return
        if restored.step > self._plan().steps:
            raise ConfigurationError(
                f"the checkpoint has {restored.step} steps done, more than the {self._plan().steps} of "
                f"{self._run.epochs} epochs: give at least as many epochs as before"
            )
        self._carry, self._stopped = restored.carry, restored.stopped
        self._record.restore(restored.history)

    def _end_epoch(self, epoch: int) -> None:
        carry = self._carry
        if self._watch.evaluate is not None:
            params = carry.params if carry.ema is None else carry.ema
            values = self._watch.evaluate(params, carry.state)
            self._record.evaluated(epoch - 1, {name: float(value) for name, value in values.items()})
        now = time.perf_counter()
        if self._watch.callback is not None:
            per_epoch = self._run.cut.per_epoch
            report = EpochReport(
                epoch=epoch,
                epochs=self._run.epochs,
                step=self._record.step,
                metrics=self._record.of_epoch(epoch - 1),
                examples=int(counted(self._run.cut, np.arange(per_epoch)).sum()),
                seconds=now - self._began,
                params=lambda: _copy(carry.params),
                ema=lambda: _copy(carry.ema),
                state=lambda: _copy(carry.state),
            )
            self._stopped = self._watch.callback(report) is True
        self._began = time.perf_counter()

    def _save(self, step: int) -> None:
        settings = self._watch.checkpoints
        if self._folder is None or settings is None:
            return
        epoch, within = divmod(step, self._run.cut.per_epoch)
        due = step == self._plan().steps or self._stopped
        if within == 0:
            due |= epoch % settings.every_epochs == 0 or settings.every_steps is not None
        else:
            due |= settings.every_steps is not None
        if not due:
            return
        value = None
        if settings.best is not None and within == 0:
            told = self._record.of_epoch(epoch - 1)
            if settings.best not in told:
                raise ConfigurationError(f"best={settings.best!r} is none of what an epoch has: {sorted(told)}")
            value = told[settings.best]
        try:
            self._folder.save(step, self._carry, self._record.history(), stopped=self._stopped, value=value)
        except OutputError as error:
            raise UnsavedError(str(error), checkpoint=self._folder.last, result=self._result()) from error

    def _finish(self) -> None:
        if self._folder is None:
            return
        try:
            self._folder.finish()
        except OutputError as error:
            raise UnsavedError(str(error), checkpoint=self._folder.last, result=self._result()) from error

    def _diverged(self, told: dict[str, np.ndarray], good: int) -> None:
        value = float(told["loss"][good])
        self._record.add({name: values[:good] for name, values in told.items()})
        self._finish()
        step = self._record.step
        epoch, batch = divmod(step, self._run.cut.per_epoch)
        last: Path | None = None if self._folder is None else self._folder.last
        what = "a gradient that is not finite" if np.isfinite(value) else f"the loss {value}"
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
        step = self._record.step
        carry = self._carry
        return FitResult(
            params=carry.params,
            ema=carry.ema,
            state=carry.state,
            optimizer_state=carry.optimizer_state,
            history=self._record.history(),
            step=step,
            epoch=step // self._run.cut.per_epoch,
            stopped=self._stopped,
        )


def _copy(tree: Tree) -> Tree:
    return jax.tree.map(lambda leaf: jnp.array(leaf, copy=True), tree)
