"""Logging a training run after every epoch, as lines of JSON and TensorBoard event files."""

from __future__ import annotations

import contextlib
import itertools
import json
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mathdnn_jax.errors import MathdnnWarning, OutputError
from mathdnn_jax.files import replace_file
from mathdnn_jax.training import EpochReport

METRICS, EVENTS = "metrics.jsonl", "tensorboard"


def as_line(report: EpochReport) -> dict[str, Any]:
    """The JSON object of an epoch."""
    return {
        "epoch": report.epoch,
        "step": report.step,
        **report.metrics,
        "seconds": report.seconds,
        "examples_per_second": report.examples / max(report.seconds, 1e-9),
    }


def read_metrics(path: Path) -> tuple[list[tuple[int, bytes]], int]:
    """Read a metrics file, if it exists, which a killed run, a full disk or an editor may have damaged.

    Returns:
        The lines that are whole, each as its epoch and its bytes without the newline, and the number of other lines.

    Raises:
        OutputError: It cannot be read.
    """
    try:
        content = path.read_bytes() if path.exists() else b""
    except OSError as error:
        raise OutputError(f"{path} cannot be read, and so not continued: {error}") from error
    lines = [line for line in content.split(b"\n") if line.strip()]
    epochs = [_epoch(line) for line in lines]
    whole = [(epoch, line) for epoch, line in zip(epochs, lines, strict=True) if epoch is not None]
    return whole, len(lines) - len(whole)


def _epoch(line: bytes) -> int | None:
    """The epoch of a line of metrics, or None if it is not one."""
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):  # not UTF-8, not JSON, or brackets and numbers beyond all measure
        return None
    if not isinstance(found, dict) or type(found.get("epoch")) is not int or found["epoch"] < 1:
        return None
    values = (value for name, value in found.items() if name not in ("epoch", "step"))
    return found["epoch"] if all(isinstance(value, (int, float)) for value in values) else None


def keep_metrics(path: Path, before: int) -> None:
    """Shorten a metrics file to the epochs before `before`, which a resumed run is about to report again.

    If lines are damaged, the old file is kept beside it under another name, and a warning counts them.
    """
    whole, damaged = read_metrics(path)
    if damaged:
        kept = next(
            name for name in (path.with_suffix(f".damaged-{k}.jsonl") for k in itertools.count(1)) if not name.exists()
        )
        path.rename(kept)
        warnings.warn(
            f"{damaged} of {damaged + len(whole)} lines of {path} are damaged and left out; the old file is kept as "
            f"{kept.name}",
            MathdnnWarning,
            stacklevel=2,
        )
    with replace_file(path) as temporary:
        temporary.write_bytes(b"".join(line + b"\n" for epoch, line in whole if epoch < before))


@contextmanager
def run_log(folder: Path) -> Iterator[Callable[[EpochReport], None]]:
    """Yield a function that logs an epoch.

    If a resumed run reports an epoch again, the lines from there on are replaced.

    Raises:
        OutputError: The folder cannot be written to.
    """
    path, began = folder / METRICS, False
    with contextlib.ExitStack() as stack:
        events: Any = None

        def log(report: EpochReport) -> None:
            nonlocal began, events
            line = as_line(report)
            try:
                if not began:
                    began, events = True, _event_writer(folder / EVENTS, report.step)
                    if events is not None:
                        stack.callback(events.close)
                    keep_metrics(path, report.epoch)
                with path.open("a", encoding="utf-8") as file:
                    file.write(f"{json.dumps(line)}\n")
            except OSError as error:
                if isinstance(error, OutputError):
                    raise
                raise OutputError(
                    f"the metrics of epoch {report.epoch} cannot be written in {folder}: {error}"
                ) from error
            if events is not None:
                for name, value in line.items():
                    if name not in ("epoch", "step"):
                        events.add_scalar(name, value, report.step)

        yield log


def _event_writer(folder: Path, step: int) -> Any:
    """A writer of event files that discards earlier events from `step` on; None, with a note, without tensorboardX."""
    try:
        from tensorboardX import SummaryWriter
    except ModuleNotFoundError as error:
        if error.name != "tensorboardX":
            raise
        print(
            'mathdnn: writing no TensorBoard event files, which need tensorboardX: pip install "mathdnn_jax[train]"',
            file=sys.stderr,
        )
        return None
    return SummaryWriter(str(folder), purge_step=step)
