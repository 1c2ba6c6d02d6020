"""A folder of checkpoints, written with orbax: atomically and in the background, and verified when read."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import json
import shutil
import uuid
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.experimental import multihost_utils

from mathdnn_jax.errors import ConfigurationError, MathdnnError, MissingDependencyError, OutputError, ResumeError
from mathdnn_jax.folder_lock import locked_folder
from mathdnn_jax.training.checkpoints import Checkpoints, outdated
from mathdnn_jax.training.fingerprint import fingerprints
from mathdnn_jax.training.history import History
from mathdnn_jax.training.named_leaves import check_leaves, describe, named_leaves, with_leaves
from mathdnn_jax.training.orbax_threads import failures_raised_alone
from mathdnn_jax.training.program import Carry
from mathdnn_jax.versions import versions

FORMAT = 1
UNFINISHED = ".orbax-checkpoint-tmp"
DISCARDED, SET_ASIDE = ".discarded-", "set-aside"


class RestoredRun(NamedTuple):
    """The state of a run, read from a checkpoint."""

    carry: Carry
    step: int
    stopped: bool
    history: History


class CheckpointFolder:
    """The checkpoints of one run. If there are several processes, each calls every method at the same point of the run.

    `run` identifies the run: a checkpoint must have the same entries to be resumed from. `last` is the newest complete
    checkpoint.

    Raises:
        MissingDependencyError: orbax is not installed.
        OutputError: The folder cannot be created; a `FolderInUseError` if another run writes there.
        ConfigurationError: The folder already has checkpoints, and `resume` is False.
    """

    def __init__(self, settings: Checkpoints, run: Mapping[str, Any]) -> None:
        self._orbax = _import_orbax()
        self._settings, self._run = settings, dict(run)
        self.folder = Path(settings.folder).absolute()  # orbax requires an absolute path
        self._pending: tuple[int, float | None] | None = None
        self.last: Path | None = None
        with contextlib.ExitStack() as stack:
            self._tidy(stack)
            found = self.steps()
            if found and settings.resume is False:
                raise ConfigurationError(
                    f"{self.folder} already has checkpoints (steps {', '.join(map(str, found))}): pass resume=True to "
                    "continue from the newest, or choose another folder"
                )
            self._checkpointer = self._orbax.AsyncCheckpointer(self._orbax.CompositeCheckpointHandler())
            self._values = {} if settings.best is None else self._read_values(found)
            stack.enter_context(failures_raised_alone())
            self._held = stack.pop_all()

    def steps(self) -> list[int]:
        """The steps of the complete checkpoints, oldest first."""
        return sorted(int(path.name) for path in self.folder.iterdir() if path.name.isdecimal())

    def restore(self, like: Carry) -> RestoredRun | None:
        """Read the run from the requested checkpoint, sharded like `like`; None if there is no checkpoint yet.

        Raises:
            ResumeError: The checkpoint is missing, damaged, or belongs to another run. The message lists the others.
        """
        steps, asked = self.steps(), self._settings.resume
        if asked is False or (asked is True and not steps):
            return None
        step = steps[-1] if asked is True else int(asked)
        others = tuple(other for other in reversed(steps) if other != step)
        offer = f"; choose another one with resume=STEP, there are {', '.join(map(str, others))}" if others else ""
        path = self.folder / str(step)
        if step not in steps:
            raise ResumeError(f"there is no checkpoint {path}{offer}", others)
        try:
            restored = self._read(path, like)
        except ResumeError as error:
            raise ResumeError(f"{error}{offer}", others) from error
        if jax.process_index() == 0:
            for newer in [other for other in steps if other > step]:
                (self.folder / SET_ASIDE).mkdir(exist_ok=True)
                _rename(self.folder / str(newer), self.folder / SET_ASIDE)
        self._synchronise("set-aside")
        self.last = path
        return restored

    def save(self, step: int, carry: Carry, history: History, *, stopped: bool, value: float | None) -> None:
        """Start writing a checkpoint once the previous one is complete. The best checkpoint has the lowest `value`.

        Raises:
            OutputError: The previous checkpoint could not be written, or writing this one cannot start.
        """
        self.finish()
        leaves = {name: leaf for name, leaf in named_leaves(carry).items() if name != "alive"}
        history_arrays = _history_arrays(history)
        meta = {
            "format": FORMAT,
            "step": step,
            "stopped": stopped,
            "best": None if value is None else {"name": self._settings.best, "value": value},
            "run": self._run,
            "config": dict(self._settings.config),
            "versions": versions() | {name: importlib.metadata.version(name) for name in ("optax", "orbax-checkpoint")},
            "leaves": describe(leaves),
            "fingerprints": fingerprints(leaves),
            "history": {name: _digest(array) for name, array in history_arrays.items()},
        }
        save = self._orbax.args
        # Orbax has copied the leaves when `save` returns, before the next dispatch donates them; it refuses empty ones.
        arrays = {name: leaf for name, leaf in leaves.items() if leaf.size}
        try:
            self._checkpointer.save(
                self.folder / str(step),
                args=save.Composite(
                    arrays=save.StandardSave(arrays),
                    history=save.StandardSave(history_arrays),
                    meta=save.JsonSave(meta | {"digest": _digest_json(meta)}),
                ),
            )
        except Exception as error:
            raise self._unwritten(step, error) from error
        self._pending = (step, value)

    def finish(self) -> None:
        """Wait until the pending checkpoint is written, then delete the outdated ones.

        Raises:
            OutputError: The checkpoint could not be written.
        """
        if self._pending is None:
            return
        step, value = self._pending
        self._pending = None
        try:
            self._checkpointer.wait_until_finished()
        except Exception as error:
            raise self._unwritten(step, error) from error
        self.last = self.folder / str(step)
        if value is not None:
            self._values[step] = value
        if jax.process_index() == 0:
            for old in outdated(self.steps(), self._values, self._settings.keep):
                self._values.pop(old, None)
                # Moved first, so that a partly deleted checkpoint never has the name of a complete one.
                shutil.rmtree(_rename(self.folder / str(old), self.folder, DISCARDED), ignore_errors=True)

    def close(self) -> None:
        """Release orbax's threads and the lock. Call this at the end, whatever happened."""
        # `finish` has raised what failed, or another error is on its way: orbax's own must not take its place.
        with self._held, contextlib.suppress(Exception):
            self._checkpointer.close()

    def _read(self, path: Path, like: Carry) -> RestoredRun:
        meta = self._read_meta(path)
        if meta["run"] != self._run:
            there = meta["run"]
            differ = [f"{name} {there.get(name)} there, {mine} here" for name, mine in self._run.items()
                      if there.get(name) != mine]  # fmt: skip
            raise ResumeError(f"{path} belongs to another run: {'; '.join(differ)}")
        leaves = {name: leaf for name, leaf in named_leaves(like).items() if name != "alive"}
        check_leaves(meta["leaves"], describe(leaves), path)
        shapes = {
            name: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=leaf.sharding)
            for name, leaf in leaves.items()
            if leaf.size
        }
        restore = self._orbax.args
        wanted = restore.Composite(arrays=restore.StandardRestore(shapes), history=restore.StandardRestore())
        try:
            got = self._checkpointer.restore(path, args=wanted)
        except Exception as error:
            raise ResumeError(f"{path} is damaged: {_first_line(error)}") from error
        arrays = leaves | dict(got["arrays"])
        history_arrays = {name: np.asarray(array) for name, array in got["history"].items()}
        found = fingerprints(arrays)
        wrong = [name for name, expected in meta["fingerprints"].items() if found[name] != expected]
        wrong += [name for name, expected in meta["history"].items() if _digest(history_arrays.get(name)) != expected]
        if wrong:
            raise ResumeError(f"{path} is damaged: the bits of {', '.join(wrong[:5])} are not those that were written")
        carry = with_leaves(like, arrays | {"alive": like.alive})
        return RestoredRun(carry, int(meta["step"]), bool(meta["stopped"]), _history(history_arrays))

    def _read_meta(self, path: Path) -> dict[str, Any]:
        restore = self._orbax.args
        try:
            meta = dict(self._checkpointer.restore(path, args=restore.Composite(meta=restore.JsonRestore()))["meta"])
            digest = meta.pop("digest")
        except Exception as error:
            raise ResumeError(f"{path} is damaged: {_first_line(error)}") from error
        if digest != _digest_json(meta):
            raise ResumeError(f"{path} is damaged: its metadata are not those that were written")
        if meta["format"] != FORMAT:
            raise ResumeError(f"{path} has format {meta['format']}; this version of the library reads {FORMAT}")
        return meta

    def _read_values(self, steps: list[int]) -> dict[int, float]:
        values = {}
        for step in steps:
            try:
                best = self._read_meta(self.folder / str(step))["best"]
            except ResumeError:
                continue  # reported if this checkpoint is requested
            if best is not None and best["name"] == self._settings.best:
                values[step] = float(best["value"])
        return values

    def _tidy(self, locked: contextlib.ExitStack) -> None:
        """Create the folder, lock it, and remove what a killed run left unfinished."""
        try:
            if jax.process_index() == 0:
                self.folder.mkdir(parents=True, exist_ok=True)
                locked.enter_context(locked_folder(self.folder))
                self._remove(f"*{UNFINISHED}*", f"{DISCARDED}*")
                probe = self.folder / f".probe-{uuid.uuid4().hex}"
                probe.touch()
                probe.unlink()
        except OSError as error:
            if isinstance(error, MathdnnError):
                raise
            raise OutputError(f"checkpoints cannot be written in {self.folder}: {error}") from error
        self._synchronise("tidy")

    def _remove(self, *patterns: str) -> None:
        for path in [path for pattern in patterns for path in self.folder.glob(pattern)]:
            shutil.rmtree(path, ignore_errors=True)

    def _unwritten(self, step: int, error: Exception) -> MathdnnError:
        if jax.process_index() == 0:
            self._remove(f"*{UNFINISHED}*")
        older = "there is no older one" if self.last is None else f"the last good one is {self.last}"
        return OutputError(f"checkpoint {self.folder / str(step)} could not be written ({_first_line(error)}); {older}")

    def _synchronise(self, name: str) -> None:
        if jax.process_count() > 1:
            multihost_utils.sync_global_devices(f"mathdnn_jax checkpoints: {name}")


def _import_orbax() -> ModuleType:
    try:
        import orbax.checkpoint
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("orbax"):
            raise
        raise MissingDependencyError('checkpoints need orbax: pip install "mathdnn_jax[checkpoint]"') from error
    module: ModuleType = orbax.checkpoint
    return module


def _rename(path: Path, folder: Path, prefix: str = "") -> Path:
    return path.rename(folder / f"{prefix}{path.name}-{uuid.uuid4().hex[:8]}")


def _history_arrays(history: History) -> dict[str, np.ndarray]:
    by_step = {"loss": history.loss, **history.metrics}
    arrays = {f"step {name}": array for name, array in by_step.items()}
    arrays |= {f"epoch {name}": array for name, array in history.epochs.items()}
    return {name: array for name, array in arrays.items() if array.size}


def _history(arrays: Mapping[str, np.ndarray]) -> History:
    by_step = {name.removeprefix("step "): array for name, array in arrays.items() if name.startswith("step ")}
    by_epoch = {name.removeprefix("epoch "): array for name, array in arrays.items() if name.startswith("epoch ")}
    return History(by_step.pop("loss"), by_step, np.empty(0, np.int64), by_epoch)


def _digest(array: np.ndarray | None) -> str | None:
    if array is None:
        return None
    return hashlib.sha256(f"{array.dtype}{array.shape}".encode() + np.ascontiguousarray(array).tobytes()).hexdigest()


def _digest_json(meta: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(meta, sort_keys=True).encode()).hexdigest()


def _first_line(error: Exception) -> str:
    line = (str(error).splitlines() or [""])[0]
    # The beginning says what was done, and the end why it failed.
    return f"{type(error).__name__}: {line if len(line) <= 300 else f'{line[:150]} … {line[-150:]}'}"
