"""The process that keeps the time and the results; another one computes, and may fail, hang or be killed."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from benchmarks.gpu.findings import Findings
from benchmarks.gpu.plan import Step

Say = Callable[[str], object]
STARTING = 90.0
"""Seconds that a process may take beyond its first step's own, to import both frameworks and find the device."""
FALSE_STARTS = 2
"""After so many processes in a row that end before they say what they compute on, no other is started."""


class Worker(Protocol):
    """A process that does steps."""

    def ask(self, step: str, seconds: float, short: list[list[str]]) -> None:
        """Ask for a step."""

    def answer(self, seconds: float) -> dict[str, Any] | None:
        """Return the next answer; None if there is none in so many seconds.

        Raises:
            EOFError: the process has ended; the message tells how.
        """

    def close(self) -> None:
        """End the process, whatever it does."""


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
    """Have the steps done in order, as many as there is time for; `findings` has each answer as it comes.

    A step that raises is recorded with its traceback. One that hangs is stopped when it has taken its `most_s`, and
    one whose process ends has been stopped by that: another process goes on with the next step. What there is no time
    for is recorded as not begun.

    Args:
        steps: what is done, the most valuable first.
        findings: where results go.
        seconds: that all may take.
        start: starts a process with these variables beside those of this one.
        say: is told what goes on.
        clock: seconds that pass.
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
            worker.ask(step.id, most, findings.short())
            ended, described = _follow(worker, step, findings, clock() + most, clock)
            false_starts = 0 if described or not starting else false_starts + 1
            if not ended:
                worker.close()
                worker = None
            say(f"{step.id}: {findings.told(step)}")
    finally:
        if worker is not None:
            worker.close()


def _follow(
    worker: Worker, step: Step, findings: Findings, until: float, clock: Callable[[], float]
) -> tuple[bool, bool]:
    """Record what a step finds; returns whether its process goes on, and whether it said what it computes on."""
    described = False
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
            findings.add(answer["part"], answer["value"])
        else:
            error = answer["error"]
            findings.ended(step, "failed" if error else "done", error, answer["traceback"], answer["seconds"])
            return True, True
