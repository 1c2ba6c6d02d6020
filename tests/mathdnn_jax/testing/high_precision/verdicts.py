"""The verdicts of high precision on maps of vectors that are given as plain functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from mathdnn_jax.testing.high_precision.point import Point
from mathdnn_jax.testing.high_precision.verdict import (
    LogDetVerdict,
    RoundTripVerdict,
    log_det_verdict,
    round_trip_verdict,
)
from mathdnn_jax.testing.programs import Direction, direction
from mathdnn_jax.testing.support import box

Result = tuple[jax.Array, jax.Array]
TOLERANCE = 1e-9
X = np.array([1.0, -2.0])


def one_way(function: Callable[[jax.Array], Result], size: int) -> Direction:
    line = box(None, (size,), "support")
    return direction("map", function, (size,), (size,), line, with_params=False, batched=False, gradients=False)


def log_det_verdict_at(function: Callable[[jax.Array], Result], x: Any, log_det: float | None = None) -> LogDetVerdict:
    """Return the verdict on a map at x. `log_det` replaces the log_det that float64 reports."""
    x = np.asarray(x, np.float64)
    one = one_way(function, x.size)
    analysis = one.analyse(None, None, x)
    if log_det is not None:
        analysis = analysis._replace(log_det=np.asarray(log_det))
    return log_det_verdict(Point(one, None, None, x), analysis, TOLERANCE, reported=True)


def round_trip_verdict_at(
    there: Callable[[jax.Array], Result], back: Callable[[jax.Array], Result], x: Any, reported: Any = None
) -> RoundTripVerdict:
    x = np.asarray(x, np.float64)
    first, second = one_way(there, x.size), one_way(back, x.size)
    analysis = first.analyse(None, None, x)
    points = Point(second, None, None, x, first), Point(first, None, None, x)
    return round_trip_verdict(*points, analysis, None if reported is None else np.asarray(reported), TOLERANCE)
