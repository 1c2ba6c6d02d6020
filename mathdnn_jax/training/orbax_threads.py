"""What orbax's threads print when they fail."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def failures_raised_alone() -> Iterator[None]:
    """Keep tracebacks of orbax's threads from being printed: what failed there is raised where they are waited for.

    On a full disk these would be hundreds of lines around the one that says so. They go to the logs of absl and asyncio
    and, when a thread's event loop ends before its writes, to `sys.unraisablehook`; some come when the process ends, so
    that after a failure they are kept back to the end.
    """
    failed = False

    def of_orbax(record: logging.LogRecord) -> bool:
        return bool(record.exc_info) and ("orbax" in record.pathname or "orbax" in record.getMessage())

    def keep(record: logging.LogRecord) -> bool:
        nonlocal failed
        failed = failed or of_orbax(record)
        return not of_orbax(record)

    def unraisable(found: Any) -> None:
        if not (isinstance(found.exc_value, RuntimeError) and str(found.exc_value) == "Event loop is closed"):
            hook(found)

    logs, hook = [logging.getLogger(name) for name in ("absl", "asyncio")], sys.unraisablehook
    for log in logs:
        log.addFilter(keep)
    sys.unraisablehook = unraisable
    try:
        yield
    finally:
        if not failed:
            for log in logs:
                log.removeFilter(keep)
            if sys.unraisablehook is unraisable:
                sys.unraisablehook = hook
