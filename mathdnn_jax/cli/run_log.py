"""Logging a training run after every epoch, as lines of JSON and TensorBoard event files."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mathdnn_jax.errors import OutputError
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
        "examples_per_second": report.examples / report.seconds,
    }


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Read the complete lines of a metrics file, if it exists; a killed run may leave an incomplete last line."""
    if not path.exists():
        return []
    lines = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            lines.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return lines


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
                    before = [old for old in read_metrics(path) if old["epoch"] < report.epoch]
                    with replace_file(path) as temporary:
                        temporary.write_text("".join(f"{json.dumps(old)}\n" for old in before), encoding="utf-8")
                with path.open("a", encoding="utf-8") as file:
                    file.write(f"{json.dumps(line)}\n")
            except OSError as error:
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
