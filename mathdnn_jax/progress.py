"""Progress of long work: a bar on a terminal, plain lines in a pipe."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

LINES = 4
"""How many plain lines a piece of work prints at most."""


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
