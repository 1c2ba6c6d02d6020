"""The results of a run on a GPU, written to the file after every change."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from benchmarks.gpu.plan import Step
from benchmarks.harness.results import FORMAT, key_of
from benchmarks.harness.targets import evaluate, falls_short

REPEAT = 7
"""Number of interleaved samples of each contender; slow work has fewer."""
LISTS = {
    "certificate": "certificates",
    "identity": "identities",
    "claim": "claims",
    "profile": "profiles",
    "left out": "left_out",
}
"""The kinds of findings that are collected in lists, and the name of each list in the file."""
OVER = ("done", "stopped", "crashed")
"""A resumed run does not repeat steps with these outcomes, only those that failed or were not begun."""


class Findings:
    """The growing results: a dictionary in the file's format, passed to `write` after every change."""

    def __init__(
        self,
        command: str,
        steps: Iterable[Step],
        write: Callable[[dict[str, Any]], object] = lambda _: None,
        before: dict[str, Any] | None = None,
    ) -> None:
        """Start empty, or from the results of an earlier run, keeping its other steps."""
        self._write = write
        self.results: dict[str, Any] = before or {
            "format": FORMAT,
            "machine": None,
            "threads": None,
            "imports_s": None,
            "repeat": REPEAT,
            "limits": {},
            "rows": [],
            "gpu": {"steps": {}, **{name: [] for name in LISTS.values()}},
        }
        self.results["command"] = command
        for step in steps:
            self._steps[step.id] = {"status": "not begun", "reason": "the run ended before this step", "why": step.why}
        self._changed()

    def began(self, step: Step) -> None:
        """Record that a step has begun; the file says so if nothing more arrives."""
        self._steps[step.id] = {"status": "begun", "reason": "the run ended during this step", "why": step.why}
        self._changed()

    def about(self, value: dict[str, Any]) -> None:
        """Record the device of the first process, and of a later one if it found another card."""
        if self.results["machine"] is None:
            self.results |= value
        elif value["card"] != self.results["card"]:
            self.results["gpu"].setdefault("continued_on", []).append(value)
        self._changed()

    def add(self, part: str, value: Any) -> None:
        """Record a finding of a step."""
        if part == "row":
            self._add_row(value)
        elif part == "limits":
            self.results["limits"] |= value
        elif part in LISTS:
            self.results["gpu"][LISTS[part]].append(value)
        else:
            self.results["gpu"][f"count_of_{part}"] = value
        self._changed()

    def ended(
        self, step: Step, status: str, reason: str | None, traceback: str | None = None, seconds: float | None = None
    ) -> None:
        """Record how a step ended: "done", "failed" (it raised an exception), "crashed", "stopped" or "not begun"."""
        self._steps[step.id] = {"status": status, "reason": reason, "why": step.why, "seconds": seconds}
        if traceback is not None:
            self._steps[step.id]["traceback"] = traceback
        self._changed()

    def short(self) -> list[list[str]]:
        """Return workload, case and precision of each row that misses a target or is slower than PyTorch's best."""
        rows = [row for row in self.results["rows"] if "error" not in row and falls_short(row)]
        return [[row["workload"], row["case"], row["precision"]] for row in rows]

    def outcome(self, step: Step) -> str:
        """Return, in words, how a step ended."""
        entry = self._steps[step.id]
        return entry["status"] if entry["reason"] is None else f"{entry['status']}: {entry['reason']}"

    def failures(self) -> list[str]:
        """Return a line for each step, row, certificate, identity and claim that failed."""
        gpu = self.results["gpu"]
        lines = [
            f"step {name}: {step['reason']}"
            for name, step in self._steps.items()
            if step["status"] in ("failed", "crashed")
        ]
        lines += [f"{row['workload']} {row['case']}: {row['error']}" for row in self.results["rows"] if "error" in row]
        for name in ("certificates", "identities", "claims"):
            about = {"certificates": "model", "identities": "of", "claims": "id"}[name]
            lines += [f"{name}: {entry[about]} did not pass" for entry in gpu[name] if not entry["passed"]]
        return lines

    @property
    def _steps(self) -> dict[str, Any]:
        steps: dict[str, Any] = self.results["gpu"]["steps"]
        return steps

    def _add_row(self, row: dict[str, Any]) -> None:
        """Add a row, or merge it with the row of the same case. A failed row never replaces a good one."""
        row = {"backend": "gpu", **row}
        rows = self.results["rows"]
        same = next((k for k, other in enumerate(rows) if key_of(other) == key_of(row)), None)
        if same is None:
            rows.append(row)
            return
        if "error" in row and "error" not in rows[same]:
            return
        if "error" not in row and "error" not in rows[same]:
            _merge(row, rows[same])
        rows[same] = row

    def _changed(self) -> None:
        self.results["rows"] = [self._evaluated(row) for row in self.results["rows"]]
        self._write(self.results)

    def _evaluated(self, row: dict[str, Any]) -> dict[str, Any]:
        if "error" in row:
            return row
        measured = self.results["limits"].get(row["precision"])
        rates = None if measured is None else {name: measured[name] for name in ("jax", "torch")}
        return evaluate(row, rates, row["aims"])


def _merge(row: dict[str, Any], before: dict[str, Any]) -> None:
    """Add to a row what only an earlier row of the same case has: contenders, and the times of first calls.

    The first calls of the later row are not representative, as it finds the programs compiled.
    """
    contenders = row["contenders"]
    for name, figures in before["contenders"].items():
        if name in contenders:
            contenders[name]["first_call_s"] = figures["first_call_s"]
        else:
            contenders[name] = figures
            row["unable"].pop(name, None)
    baselines = [name for name, figures in contenders.items() if figures["kind"] == "torch"]
    row["best"] = min(baselines, key=lambda name: contenders[name]["median_s"]) if baselines else None
