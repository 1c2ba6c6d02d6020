"""Where the time of the rows that fall short goes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from benchmarks.precision import precision_of_both
from benchmarks.profiling import Profile, profile_case
from benchmarks.run import forget
from benchmarks.workload import Case, Settings
from benchmarks.workloads import load_workload

DEAREST = 12
"""How many operations of each profile are kept, the most expensive first."""


def profiles(short: list[list[str]], settings: Settings, left: Callable[[], float]) -> Iterator[tuple[str, Any]]:
    """Yield ("profile", …) for JAX and for PyTorch's first way, for each row (workload, case, precision) in turn."""
    for workload, label, precision in short:
        if left() <= 0:
            return
        about = {"workload": workload, "case": label, "precision": precision}
        with precision_of_both(precision, stand_in=settings.stand_in):
            case = _case(workload, label, settings._replace(precision=precision, modes=()))
            if case is None:
                yield "profile", {**about, "error": "the workload does not make this case here"}
                continue
            for name, profile in profile_case(case):
                yield "profile", {**about, "of": name, **_as_json(profile)}
        del case
        forget()


def _case(workload: str, label: str, settings: Settings) -> Case | None:
    size = label.removeprefix("batch ")
    if size.isdecimal():
        settings = settings._replace(batches=(int(size),))
    return next((case for case in load_workload(workload).cases(settings) if case.label == label), None)


def _as_json(profile: Profile) -> dict[str, Any]:
    return {"seconds": profile.seconds, "costs": [cost._asdict() for cost in profile.costs[:DEAREST]]}
