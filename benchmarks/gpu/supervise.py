"""The process that keeps time and results, while another one computes that may fail, hang or be killed."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from benchmarks.gpu.findings import Findings
from benchmarks.gpu.plan import Step

Say = Callable[[str], object]
STARTING = 90.0
"""Extra seconds for the first step of a new process, which imports both frameworks and finds the GPU."""
SPARE = 8.0
"""A step is to end this many seconds before it would be stopped, so that it can report what it left out."""
BROKEN = ("CUDA error", "CUDA_ERROR", "CUDNN_STATUS", "CUBLAS_STATUS", "cudaError", "captur")
"""Words in errors after which a process may be unable to use the GPU: the following steps get a new process."""
FALSE_STARTS = 2
"""After this many processes in a row that ended before they reported their device, no further one is started."""


class Worker(Protocol):
    """A process that does steps."""

    def ask(self, step: str, seconds: float, short: list[list[str]]) -> None:
        """Request a step."""

    def answer(self, seconds: float) -> dict[str, Any] | None:
        """Return the next answer, or None if none arrives within this many seconds.

        Raises:
            EOFError: the process has ended; the message says how.
        """

    def close(self) -> None:
        """End the process, whatever it is doing."""


Start = Callable[[Mapping[str, str]], Worker]


def supervise(
    steps: Sequence[Step],
    findings: Findings,
    *,
    seconds: float,
    start: Start,
    say: Say = lambda _: None,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Run the steps in order for as long as time allows, recording every answer in `findings` as it arrives.

    A step that raises an exception is recorded with its traceback. A step that hangs is stopped after its `most_s`
    seconds. If the process dies, a new one continues with the next step. A step for which too little time is left is
    recorded as not begun.

    Args:
        steps: the steps, in order of their value.
        findings: where the results go.
        seconds: the time for all steps together.
        start: starts a process, given variables to add to this one's environment.
        say: called with a progress message at the beginning and the end of each step.
        clock: returns seconds that never decrease.
    """
    deadline = clock() + seconds
    waiting, false_starts = list(steps), 0
    worker: Worker | None = None
    environment: Mapping[str, str] = {}
    try:
        while waiting:
            step = waiting.pop(0)
            left = deadline - clock()
            if left < max(step.least_s, 0.1):
                findings.ended(step, "not begun", f"{max(left, 0):.0f} s were left, and it needs {step.least_s:.0f}")
                continue
            if false_starts >= FALSE_STARTS:
                findings.ended(step, "not begun", f"{FALSE_STARTS} processes in a row ended before they could begin")
                continue
            if worker is not None and environment != step.environment:
                worker.close()
                worker = None
            starting = worker is None
            if worker is None:
                environment = step.environment
                worker = start(environment)
            findings.began(step)
            say(f"{step.id}: {step.why} ({left:.0f} s left)")
            most = min(step.most_s + (STARTING if starting else 0.0), left)
            worker.ask(step.id, most - min(SPARE, most / 2), findings.short())
            goes_on, described = _follow(worker, step, findings, clock() + most, clock)
            false_starts = 0 if described or not starting else false_starts + 1
            if not goes_on:
                worker.close()
                worker = None
            say(f"{step.id}: {findings.outcome(step)}")
    finally:
        if worker is not None:
            worker.close()


def _follow(
    worker: Worker, step: Step, findings: Findings, until: float, clock: Callable[[], float]
) -> tuple[bool, bool]:
    """Record the findings of a step; return whether its process can continue, and whether it reported its device."""
    described, broken = False, False
    while True:
        try:
            answer = worker.answer(max(until - clock(), 0.0))
        except EOFError as ended:
            findings.ended(step, "crashed", str(ended))
            return False, described
        if answer is None:
            findings.ended(step, "stopped", "its time was over")
            return False, described
        if answer["event"] == "about":
            described = True
            findings.about(answer["value"])
        elif answer["event"] == "found":
            broken |= _is_broken(answer["value"])
            findings.add(answer["part"], answer["value"])
        else:
            error = answer["error"]
            findings.ended(step, "failed" if error else "done", error, answer["traceback"], answer["seconds"])
            return not broken and not _is_broken({"error": error}), True


def _is_broken(value: Any) -> bool:
    """Return whether an error in a finding suggests that the process can no longer use the GPU."""
    if not isinstance(value, Mapping):
        return False
    said = [value.get("error") or "", *(value.get("unable") or {}).values()]
    return any(word in text for text in said for word in BROKEN)
