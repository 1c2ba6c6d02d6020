"""The process that keeps the time, and a run whose other process fails, hangs, ends or is too slow."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import pytest

from benchmarks.gpu.findings import Findings
from benchmarks.gpu.plan import Step
from benchmarks.gpu.supervise import SPARE, STARTING, supervise

ABOUT = {"event": "about", "value": {"machine": {"device": "A Card"}, "card": {"name": "A Card"}, "torch": {}}}


class Clock:
    """A clock that advances when somebody waits."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


class Script:
    """A process that follows a script for each step: it answers after some seconds, or ends."""

    def __init__(self, clock: Clock, script: Mapping[str, list[Any]], log: list[str]) -> None:
        self.clock, self.script, self.log = clock, script, log
        self.waiting: list[tuple[float, Any]] = [(1.0, ABOUT)]

    def ask(self, step: str, seconds: float, short: list[list[str]]) -> None:
        self.log.append(f"{step} in {seconds:g}{' ' + str(short) if short else ''}")
        ended = {"event": "end", "step": step, "error": None, "traceback": None, "seconds": 2.0}
        for after, answer in self.script.get(step, [(2.0, None)]):
            if isinstance(answer, dict) and "part" in answer:
                answer = {"event": "found", "step": step, **answer}
            self.waiting.append((after, ended if answer is None else answer))

    def answer(self, seconds: float) -> dict[str, Any] | None:
        if not self.waiting or self.waiting[0][0] > seconds:
            self.clock.now += seconds
            return None
        after, answer = self.waiting.pop(0)
        self.clock.now += after
        if isinstance(answer, str):
            raise EOFError(answer)
        copied: dict[str, Any] = copy.deepcopy(answer)
        return copied

    def close(self) -> None:
        self.log.append("closed")


class Run:
    """A supervised run of scripted steps, and its results."""

    def __init__(self, steps: list[Step], script: Mapping[str, list[Any]], seconds: float = 480.0) -> None:
        self.log: list[str] = []
        self.written: list[dict[str, Any]] = []
        clock = Clock()

        def start(environment: Mapping[str, str]) -> Script:
            self.log.append(f"start {dict(environment)}")
            return Script(clock, script, self.log)

        findings = Findings("the command", steps, lambda results: self.written.append(copy.deepcopy(results)))
        supervise(steps, findings, seconds=seconds, start=start, clock=clock)
        self.findings, self.results, self.seconds = findings, findings.results, clock.now - Clock.now

    def statuses(self) -> dict[str, str]:
        return {name: step["status"] for name, step in self.results["gpu"]["steps"].items()}


def steps(*names: str, **more: Any) -> list[Step]:
    return [Step(name, "claims", f"about {name}", least_s=5, most_s=50)._replace(**more) for name in names]


def test_one_process_does_all_steps_in_order_and_every_answer_is_written() -> None:
    run = Run(steps("a", "b"), {"a": [(1.0, {"part": "limits", "value": {"f32": {}}}), (1.0, None)]})
    assert run.log == ["start {}", f"a in {50 + STARTING - SPARE:g}", f"b in {50 - SPARE:g}", "closed"]
    assert run.statuses() == {"a": "done", "b": "done"}
    assert run.results["machine"] == {"device": "A Card"}
    # As soon as the limits were found, the file had them, and said that the step had begun.
    (found,) = [w for w in run.written if w["limits"] and w["gpu"]["steps"]["a"]["status"] == "begun"]
    assert found["limits"] == {"f32": {}}
    assert found["gpu"]["steps"]["b"]["status"] == "not begun"
    assert run.written[0]["gpu"]["steps"].keys() == {"a", "b"}


def test_a_step_that_raises_is_recorded_with_its_traceback_and_the_next_one_runs() -> None:
    raised = {"event": "end", "step": "a", "error": "ValueError: no", "traceback": "Traceback …", "seconds": 1.0}
    run = Run(steps("a", "b"), {"a": [(1.0, raised)]})
    assert run.statuses() == {"a": "failed", "b": "done"}
    assert run.results["gpu"]["steps"]["a"]["traceback"] == "Traceback …"
    assert run.findings.failures() == ["step a: ValueError: no"]
    assert run.log.count("start {}") == 1


@pytest.mark.parametrize(
    ("found", "error"),
    [
        ({"part": "row", "value": {"error": "RuntimeError: CUDA error: an illegal memory access"}}, None),
        ({"part": "row", "value": {"unable": {"CUDA graphs, fused Adam": "operation failed due to a capture"}}}, None),
        ({"part": "claims", "value": {"there_are": 9}}, "JaxRuntimeError: INTERNAL: CUBLAS_STATUS_EXECUTION_FAILED"),
    ],
)
def test_an_error_that_breaks_the_gpu_for_a_process_leads_to_a_new_process(found: Any, error: str | None) -> None:
    if found["part"] == "row":
        about = {"workload": "w", "case": "c", "precision": "f32", "aims": {}}
        found["value"] = {**about, "error": "it failed", **found["value"]}
    ended = {"event": "end", "step": "a", "error": error, "traceback": None, "seconds": 1.0}
    run = Run(steps("a", "b"), {"a": [(1.0, found), (1.0, ended)]})
    assert run.statuses() == {"a": "failed" if error else "done", "b": "done"}
    assert run.log.count("start {}") == 2


def test_after_a_harmless_error_the_process_continues() -> None:
    row = {"workload": "w", "case": "c", "precision": "f32", "aims": {}, "error": "OutputsDifferError: they differ"}
    run = Run(steps("a", "b"), {"a": [(1.0, {"part": "row", "value": row}), (1.0, None)]})
    assert run.log.count("start {}") == 1


def test_after_a_crash_a_new_process_continues_with_the_next_step() -> None:
    found = {"part": "claim", "value": {"id": "F1.x", "passed": True}}
    run = Run(steps("a", "b"), {"a": [(1.0, found), (1.0, "ended by signal SIGABRT: last lines")]})
    assert run.statuses() == {"a": "crashed", "b": "done"}
    assert "SIGABRT" in run.results["gpu"]["steps"]["a"]["reason"]
    # Its findings are kept.
    assert [claim["id"] for claim in run.results["gpu"]["claims"]] == ["F1.x"]
    first = 50 + STARTING - SPARE
    assert run.log == ["start {}", f"a in {first:g}", "closed", "start {}", f"b in {first:g}", "closed"]


def test_a_step_that_hangs_is_stopped_when_its_time_is_over() -> None:
    run = Run(steps("a", "b"), {"b": []})
    assert run.statuses() == {"a": "done", "b": "stopped"}
    assert run.seconds == pytest.approx(1 + 2 + 50)


def test_no_step_takes_more_time_than_is_left_and_none_is_begun_in_vain() -> None:
    run = Run(steps("a", "b", "c"), {"b": []}, seconds=13.0)
    # The first takes 3 s, 10 s are left for the second, and none for the third.
    assert run.log[2] == "b in 5"
    assert run.statuses() == {"a": "done", "b": "stopped", "c": "not begun"}
    assert run.results["gpu"]["steps"]["c"]["reason"] == "0 s were left, and it needs 5"
    assert run.seconds == 13.0


def test_a_later_step_that_needs_less_time_is_still_done() -> None:
    run = Run([*steps("a"), *steps("long", least_s=100, most_s=200), *steps("b")], {}, seconds=60.0)
    assert run.statuses() == {"a": "done", "long": "not begun", "b": "done"}
    assert not run.findings.failures()


def test_processes_that_never_begin_are_not_started_for_every_step() -> None:
    class Dead(Script):
        def answer(self, seconds: float) -> dict[str, Any] | None:
            del seconds
            raise EOFError("ended with status 1: No module named jax")

    findings, started = Findings("the command", steps("a", "b", "c", "d")), []

    def start(environment: Mapping[str, str]) -> Script:
        started.append(environment)
        return Dead(Clock(), {}, [])

    supervise(steps("a", "b", "c", "d"), findings, seconds=100.0, start=start, clock=Clock())
    assert len(started) == 2
    assert [step["status"] for step in findings.results["gpu"]["steps"].values()] == [
        "crashed", "crashed", "not begun", "not begun"
    ]  # fmt: skip


def test_other_environment_variables_need_another_process() -> None:
    run = Run([*steps("a"), *steps("b", "c", environment={"XLA_FLAGS": "--x"}), *steps("d")], {})
    assert [line for line in run.log if "start" in line] == ["start {}", "start {'XLA_FLAGS': '--x'}", "start {}"]
    assert run.log.count("closed") == 3
    assert set(run.statuses().values()) == {"done"}
