"""The process that computes: asked for one step after another on its standard input, it answers on a pipe.

`python -m benchmarks.gpu.process PIPE`, PIPE being the number of an open file. A request and an answer are one line of
JSON each. The process ends at once when its standard input does, since nobody would read what it finds.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from queue import SimpleQueue
from typing import IO, Any, NamedTuple

Answer = Callable[[dict[str, Any]], None]


class Request(NamedTuple):
    """One step that is asked for."""

    step: str
    rehearsal: bool
    """Whether it is done on a processor, with tiny cases."""
    seconds: float
    """That it may take."""
    short: list[list[str]]
    """The rows so far that fall short: workload, case and precision of each."""


def serve(requests: Iterator[Request], answer: Answer) -> None:
    """Say what this process computes on, then do the steps: answer what each finds as it is found, and how it ended."""
    about = None
    for request in requests:
        began = time.monotonic()
        ended: dict[str, Any] = {"event": "end", "step": request.step, "error": None, "traceback": None}
        try:
            # Imported here: a first import of JAX and PyTorch takes seconds, and its failure is an answer too.
            from benchmarks.gpu.steps import begin, perform

            if about is None:
                about = begin(request.rehearsal)
                answer({"event": "about", "value": about})
            for part, value in perform(request, time_left(began + request.seconds)):
                answer({"event": "found", "step": request.step, "part": part, "value": value})
        except Exception as error:
            ended |= {"error": f"{type(error).__name__}: {error}", "traceback": traceback.format_exc()}
        answer({**ended, "seconds": time.monotonic() - began})


def time_left(until: float) -> Callable[[], float]:
    """Seconds that are left until then, on the monotonic clock."""
    return lambda: until - time.monotonic()


def _requests(lines: IO[str]) -> Iterator[Request]:
    """The requests as they come; a thread waits for them, so that their end is seen during a step too."""
    waiting: SimpleQueue[Request] = SimpleQueue()

    def read() -> None:
        for line in lines:
            waiting.put(Request(**json.loads(line)))
        os._exit(0)

    threading.Thread(target=read, daemon=True).start()
    while True:
        yield waiting.get()


def main(pipe: str) -> None:
    """Serve on the standard input and the pipe of this number."""
    with os.fdopen(int(pipe), "w", buffering=1, encoding="utf-8") as answers:

        def answer(value: dict[str, Any]) -> None:
            answers.write(json.dumps(value, allow_nan=False) + "\n")

        serve(_requests(sys.stdin), answer)


if __name__ == "__main__":
    main(sys.argv[1])
