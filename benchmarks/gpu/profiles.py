"""Where the time of the rows that fall short goes."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from typing import Any

from benchmarks.errors import PlanError
from benchmarks.harness.precision import precision_of_both
from benchmarks.harness.profiling import Profile, profile_jax, profile_torch
from benchmarks.harness.run import forget
from benchmarks.harness.workload import Case, Settings
from benchmarks.workloads import load_workload

DEAREST = 12
"""How many operations of each profile are kept, the most expensive first."""


SPARE = 5.0
"""Seconds below which no further profile is begun."""


def profiles(short: list[list[str]], settings: Settings, left: Callable[[], float]) -> Iterator[tuple[str, Any]]:
    """Yield ("profile", …) for each row (workload, case, precision): of JAX for all, then of PyTorch's first way.

    The two profilers do not take turns, since only one at a time may watch a GPU. A profile that fails is recorded, and
    the next one is made.
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
                told = f"{type(error).__name__}: {error}"
                yield "profile", {**about, "error": told, "traceback": traceback.format_exc()}
            forget()


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
    return {"seconds": profile.seconds, "costs": [cost._asdict() for cost in profile.costs[:DEAREST]]}
