"""Solves for a number that makes the networks agree, by Gauss-Newton on the difference at the place of departure."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from parity.certification.causes.cause import Change, Number
from parity.certification.causes.trials import Outcome, Trials

STEPS = 8
ZERO = 1e-12
LEAST_VALUES = 8
EXPLAINED = 0.3
"""The least share of a difference that a number has to explain at once to be followed up."""
Difference = Callable[[Any], np.ndarray | None]
"""recording → JAX's values minus PyTorch's, at the place where the runs departed."""


def solved(trials: Trials, number: Number, start: Outcome, difference: Difference) -> Iterator[tuple[Change, Outcome]]:
    """Yield changes to values that were solved for, rounded ones first; any of them may not agree."""
    values = np.asarray(number.start, np.float64)
    here = difference(start.recording)
    if here is None or here.size < LEAST_VALUES * len(values) or not np.isfinite(here).all():
        return
    for step in range(STEPS):
        columns = []
        for k in range(len(values)):
            moved = values.copy()
            moved[k] += 1e-5 * max(abs(values[k]), 1e-3 if step else 1.0) if values[k] != 0 or step else 1e-6
            found = _difference(trials, number, moved, difference)
            if found is None or found.shape != here.shape:
                return
            columns.append((found - here).ravel() / (moved[k] - values[k]))
        table = np.stack(columns, 1)
        if not np.isfinite(table).all():
            return
        change, *_ = np.linalg.lstsq(table, -here.ravel(), rcond=None)
        left = np.linalg.norm(here.ravel() + table @ change) / max(float(np.linalg.norm(here)), 1e-300)
        if not np.isfinite(change).all() or left > 1 - EXPLAINED:
            return
        values = values + change
        outcome = trials.outcome(number.change(*values))
        if outcome.reach > start.reach:
            for rounded in _rounded(values):
                better = trials.outcome(number.change(*rounded))
                if better.reach >= outcome.reach:
                    yield number.change(*rounded), better
                    return
            yield number.change(*values), outcome
            return
        found = None if outcome.recording is None else difference(outcome.recording)
        if found is None or found.shape != here.shape or not np.isfinite(found).all():
            return
        here = found


def _difference(trials: Trials, number: Number, values: np.ndarray, difference: Difference) -> np.ndarray | None:
    recording = trials.outcome(number.change(*values)).recording
    return None if recording is None else difference(recording)


def _rounded(values: np.ndarray) -> Iterator[list[float]]:
    """Yield the values as a person would have written them."""
    values = np.where(np.abs(values) < ZERO, 0.0, values)
    yield [float(f"{value:.3g}") for value in values]
    yield [_root(value) for value in values]


def _root(value: float) -> float:
    """Return ±√n, ±1/√n or ±1/n if the value is within its error of one."""
    size = abs(value)
    if not 1e-9 < size < 1e9:
        return float(f"{value:.9g}")
    for power in (0.5, -0.5, -1.0, 1.0):
        n = round(size ** (1 / power))
        if 0 < n < 10**6 and math.isclose(n**power, size, rel_tol=1e-7):
            return math.copysign(n**power if power != 0.5 else math.sqrt(n), value)
    return float(f"{value:.9g}")
