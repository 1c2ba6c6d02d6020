"""The best rates that the card reaches in either framework, in every precision."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from benchmarks.harness.limit import GPU, QUICK, measure_limits, prepare_limits
from benchmarks.harness.precision import SETTINGS, precision_of_both


def ceilings(rehearsal: bool) -> Iterator[tuple[str, Any]]:
    """Yield ("limits", {precision: rates}) for each precision: large products, convolutions, a pass over memory."""
    sizes = QUICK if rehearsal else GPU
    for precision in SETTINGS:
        with precision_of_both(precision, stand_in=rehearsal):
            rates = measure_limits(prepare_limits(sizes, precision), 2 if rehearsal else 7)
        yield "limits", {precision: {**rates, "sizes": sizes._asdict()}}
