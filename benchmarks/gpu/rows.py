"""The rows of a workload: both frameworks on the same work."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from typing import Any

from benchmarks.errors import PlanError
from benchmarks.gpu.findings import REPEAT
from benchmarks.gpu.plan import Step
from benchmarks.gpu.targets import aims
from benchmarks.harness.measure import Limits, measure
from benchmarks.harness.precision import precision_of_both
from benchmarks.harness.run import forget
from benchmarks.harness.workload import Case, Settings
from benchmarks.workloads import load_workload

BUDGET = 4.0
"""Seconds that all samples of one contender of a case may take."""
SPARE = 15.0
"""Seconds below which no further case of a step is begun."""
SLOW = ("seed's DataLoader, eager",)
"""Contenders left out here: they take up to a minute and do not depend on the GPU."""


def rows(step: Step, settings: Settings, left: Callable[[], float]) -> Iterator[tuple[str, Any]]:
    """Yield ("row", row) for each of the step's cases; a case that fails becomes a row with its error and traceback.

    With fewer seconds left than `SPARE` no further case is begun, and ("left out", …) says which.

    Raises:
        PlanError: the workload lacks a case that the step names, or has no case at all.
    """
    about = {"workload": step.workload, "backend": "cpu" if settings.stand_in else "gpu", "precision": step.precision}
    missing, made = set(step.cases), 0
    with precision_of_both(step.precision, stand_in=settings.stand_in):
        cases = load_workload(step.workload).cases(settings)
        while (case := next(cases, None)) is not None:
            if step.cases and case.label not in step.cases:
                continue
            missing.discard(case.label)
            if made and left() < SPARE:
                yield "left out", {**about, "case": case.label, "reason": f"{max(left(), 0):.0f} s were left"}
                continue
            made += 1
            yield "row", {**about, "step": step.id, **_row(_of_step(case, step), step, settings, left)}
            del case
            forget()
    if missing or not made:
        raise PlanError(f"{step.workload} has no case {', '.join(sorted(missing)) or 'at all'}")


def _of_step(case: Case, step: Step) -> Case:
    if step.environment:
        said = " ".join(f"{name}={value}" for name, value in step.environment.items())
        return case._replace(label=f"{case.label}, {said}", torch={}, others={}, portions={})
    others = {name: run for name, run in case.others.items() if name not in SLOW}
    # A workload explains why a CPU falls short; for a GPU the profiles do.
    return case._replace(others=others, why="")


def _row(case: Case, step: Step, settings: Settings, left: Callable[[], float]) -> dict[str, Any]:
    targets = {} if settings.stand_in else aims(step.workload, case.label, step.precision)
    try:
        limits = Limits(BUDGET, left)
        repeat = 1 if settings.quick else REPEAT
        return {**measure(case, repeat, settings.precision, settings.quick, limits=limits), "aims": targets}
    except Exception as error:
        told = f"{type(error).__name__}: {error}"
        return {"case": case.label, "error": told, "traceback": traceback.format_exc(), "aims": targets}
