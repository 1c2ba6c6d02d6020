"""The best rates that the card reaches in either framework, in each precision."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from benchmarks.frameworks.precision import DEFINITIONS, precision_of_both
from benchmarks.harness.limits import GPU, QUICK, measure_limits, prepare_limits


def ceilings(rehearsal: bool) -> Iterator[tuple[str, Any]]:
    """Yield ("limits", {precision: rates}) for each precision: rates of large products, convolutions and copies."""
    sizes = QUICK if rehearsal else GPU
    for precision in DEFINITIONS:
        with precision_of_both(precision, stand_in=rehearsal):
            rates = measure_limits(prepare_limits(sizes, precision), 2 if rehearsal else 7)
        yield "limits", {precision: {**rates, "sizes": sizes._asdict()}}
