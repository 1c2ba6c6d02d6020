"""Profiles of the rows that fall short."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from benchmarks.case import Case, Settings
from benchmarks.errors import PlanError
from benchmarks.frameworks.costs import Profile
from benchmarks.frameworks.precision import precision_of_both
from benchmarks.gpu.failure import as_record
from benchmarks.harness.measure import forget_last_case
from benchmarks.harness.profiling import profile_jax, profile_torch
from benchmarks.workloads import load_workload

KEPT = 12
"""Number of operations kept of each profile, the most expensive first."""
SPARE = 5.0
"""No further profile is begun with fewer seconds left than this."""


def profiles(short: list[list[str]], settings: Settings, left: Callable[[], float]) -> Iterator[tuple[str, Any]]:
    """Yield ("profile", …) for each row (workload, case, precision): for JAX in all rows, then for PyTorch's first way.

    The two profilers do not alternate, since only one at a time may use a GPU. If a profile fails, this is recorded and
    the run continues with the next.
    """
    for way in (_of_jax, profile_torch):
        for workload, label, precision in short:
            if left() < SPARE:
                return
            about = {"workload": workload, "case": label, "precision": precision}
            try:
                with precision_of_both(precision, stand_in=settings.stand_in):
                    case = _case(workload, label, settings._replace(precision=precision, modes=()))
                    for name, profile in way(case):
                        yield "profile", {**about, "of": name, **_as_json(profile)}
                del case
            except Exception as error:
                yield "profile", {**about, **as_record(error)}
            forget_last_case()


def _of_jax(case: Case) -> Iterator[tuple[str, Profile]]:
    yield "JAX", profile_jax(case)


def _case(workload: str, label: str, settings: Settings) -> Case:
    size = label.removeprefix("batch ")
    if size.isdecimal():
        settings = settings._replace(batches=(int(size),))
    for case in load_workload(workload).cases(settings):
        if case.label == label:
            return case
    raise PlanError(f"{workload} has no case {label} here")


def _as_json(profile: Profile) -> dict[str, Any]:
    return {"seconds": profile.seconds, "costs": [cost._asdict() for cost in profile.costs[:KEPT]]}
