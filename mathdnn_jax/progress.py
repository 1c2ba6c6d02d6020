"""Progress of long work: a bar on a terminal, plain lines in a pipe."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

LINES = 4
"""How many plain lines a piece of work prints at most."""

EPOCH_LINES = 20
"""How many plain lines a training run prints at most."""


@contextmanager
def progress(description: str, total: int) -> Iterator[Callable[[int], None]]:
    """Yield a function that is told how many more of `total` are done; everything goes to standard error."""
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
    """Yield a function that is told how many of `total` epochs are done and what is to be said of the last one.

    A bar with the time left on a terminal, at most `EPOCH_LINES` plain lines in a pipe, nothing where `quiet`;
    everything goes to standard error.
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
