"""The process that computes: it reads requests for steps from standard input, and answers on a pipe.

It is started as `python -m benchmarks.gpu.process PIPE`, where PIPE is the number of an open file descriptor. Requests
and answers are one line of JSON each. The process ends as soon as its standard input is closed, since nobody would read
its findings.
"""

from __future__ import annotations

import json
import math
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from queue import SimpleQueue
from typing import IO, Any, NamedTuple

from benchmarks.gpu.failure import as_record

Answer = Callable[[dict[str, Any]], None]


class Request(NamedTuple):
    """A request for one step."""

    step: str
    rehearsal: bool
    """Whether to rehearse the step on a CPU, with tiny cases."""
    seconds: float
    """The time that the step may take."""
    short: list[list[str]]
    """Workload, case and precision of all rows so far that fall short."""


def serve(requests: Iterator[Request], answer: Answer) -> None:
    """Report the device, then do the steps; answer with each finding, and at the end of each step with its outcome."""
    about = None
    for request in requests:
        began = time.monotonic()
        ended: dict[str, Any] = {"event": "end", "step": request.step, "error": None, "traceback": None}
        try:
            # Imported here, so that a failure to import JAX or PyTorch is reported as well.
            from benchmarks.gpu.steps import begin, perform

            if about is None:
                about = begin(request.rehearsal)
                answer({"event": "about", "value": about})
            for part, value in perform(request, time_left(began + request.seconds)):
                answer({"event": "found", "step": request.step, "part": part, "value": value})
        except Exception as error:
            ended |= as_record(error)
        answer({**ended, "seconds": time.monotonic() - began})


def time_left(until: float) -> Callable[[], float]:
    """Return a function that returns the seconds left until this time of the monotonic clock."""
    return lambda: until - time.monotonic()


def _requests(lines: IO[str]) -> Iterator[Request]:
    """Yield requests as they arrive; a thread reads them, so that the end of the input is noticed during a step too."""
    waiting: SimpleQueue[Request] = SimpleQueue()

    def read() -> None:
        for line in lines:
            waiting.put(Request(**json.loads(line)))
        os._exit(0)

    threading.Thread(target=read, daemon=True).start()
    while True:
        yield waiting.get()


def as_line(value: Any) -> str:
    """Return a line of JSON, with NumPy's numbers as numbers, and null for infinity and NaN."""
    return json.dumps(_plain(value), allow_nan=False) + "\n"


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int | str):
        return value
    return _plain(value.item()) if hasattr(value, "item") else str(value)


def main(pipe: str) -> None:
    """Serve on standard input and on the pipe with this number."""
    with os.fdopen(int(pipe), "w", buffering=1, encoding="utf-8") as answers:

        def answer(value: dict[str, Any]) -> None:
            answers.write(as_line(value))

        serve(_requests(sys.stdin), answer)


if __name__ == "__main__":
    main(sys.argv[1])
