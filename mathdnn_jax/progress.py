"""The progress of long work, as a bar on a terminal or as plain lines in a pipe."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

LINES = 4
"""The maximum number of plain lines for a task."""

EPOCH_LINES = 20
"""The maximum number of plain lines for a training run."""


@contextmanager
def progress(description: str, total: int) -> Iterator[Callable[[int], None]]:
    """Yield a function to be called with the number of items just done, out of `total`. It prints to standard error."""
    if sys.stderr.isatty():
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task(description, total=total)
            yield lambda more: bar.advance(task, more)
        return

    done = printed = 0

    def advance(more: int) -> None:
        nonlocal done, printed
        done += more
        if done * LINES // total > printed:
            printed = done * LINES // total
            print(f"{description}: {done:,} of {total:,}", file=sys.stderr, flush=True)

    yield advance


@contextmanager
def epoch_progress(description: str, total: int, quiet: bool = False) -> Iterator[Callable[[int, str], None]]:
    """Yield a function that is called with the number of epochs done, out of `total`, and a text about the last one.

    It shows a bar with the remaining time on a terminal, prints at most `EPOCH_LINES` plain lines in a pipe, and does
    nothing if `quiet` is set. Everything goes to standard error.
    """
    if quiet:
        yield lambda *_: None
        return
    if sys.stderr.isatty():
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task(description, total=total)
            yield lambda done, words: bar.update(task, completed=done, description=f"{description}: {words}")
        return

    printed = 0

    def tell(done: int, words: str) -> None:
        nonlocal printed
        if done * EPOCH_LINES // total > printed:
            printed = done * EPOCH_LINES // total
            print(f"{description}: {done:,} of {total:,}: {words}", file=sys.stderr, flush=True)

    yield tell
