"""The rows of a workload: both frameworks on the same work."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from benchmarks.case import Case, Settings
from benchmarks.errors import PlanError
from benchmarks.frameworks.precision import precision_of_both
from benchmarks.gpu.failure import as_record
from benchmarks.gpu.findings import REPEAT
from benchmarks.gpu.plan import Step
from benchmarks.harness.measure import TimeAllowed, forget_last_case, measure
from benchmarks.workloads import load_workload
from benchmarks.workloads.autoencoder import LOADER
from benchmarks.workloads.gpu_targets import aims

BUDGET = 4.0
"""Seconds that all samples of one contender of a case may take together."""
SPARE = 15.0
"""No further case of a step is begun with fewer seconds left than this."""
SLOW = (LOADER,)
"""Contenders left out here, as they take up to a minute and do not depend on the GPU."""


def rows(step: Step, settings: Settings, left: Callable[[], float]) -> Iterator[tuple[str, Any]]:
    """Yield ("row", row) for each of the step's cases; a case that fails becomes a row with its error and traceback.

    With fewer seconds left than `SPARE`, no further case is begun; ("left out", …) is yielded for each of those.

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
            forget_last_case()
    if missing or not made:
        raise PlanError(f"{step.workload} has no case {', '.join(sorted(missing)) or 'at all'}")


def _of_step(case: Case, step: Step) -> Case:
    if step.environment:
        said = " ".join(f"{name}={value}" for name, value in step.environment.items())
        return case._replace(label=f"{case.label}, {said}", torch={}, others={}, portions={})
    others = {name: run for name, run in case.others.items() if name not in SLOW}
    # The reasons that a workload gives are those of a CPU; on a GPU the profiles show them.
    return case._replace(others=others, why="")


def _row(case: Case, step: Step, settings: Settings, left: Callable[[], float]) -> dict[str, Any]:
    targets = {} if settings.stand_in else aims(step.workload, case.label, step.precision)
    try:
        allowed = TimeAllowed(BUDGET, left)
        repeat = 1 if settings.quick else REPEAT
        return {**measure(case, repeat, settings.precision, settings.quick, allowed=allowed), "aims": targets}
    except Exception as error:
        return {"case": case.label, **as_record(error), "aims": targets}
