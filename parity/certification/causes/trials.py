"""Reruns of PyTorch's network with something changed, counted and timed, and how far JAX then agrees."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
import torch

from parity.certification.causes.cause import Change
from parity.certification.causes.rerun import Plan, rerun
from parity.certification.causes.tape import Recorded

Departure = tuple[int, str, str]
"""The number of the first place that departs, in the order of computation, its layer, and "input" or "output"."""


class Outcome(NamedTuple):
    """How far the runs agree: up to this place, math.inf for everywhere, −math.inf if the changed network failed."""

    reach: float
    departure: Departure | None
    recording: Any


class OutOfTrialsError(Exception):
    """No more runs are allowed, or no more time."""


class Trials:
    """Runs a network with changes, on top of those that are `settled`, within limits of runs and seconds."""

    def __init__(
        self,
        module: torch.nn.Module,
        run: Callable[[], Any],
        departs: Callable[[Any], Departure | None],
        recorded: Recorded,
        runs: int,
        seconds: float,
    ) -> None:
        self.settled: list[Change] = []
        self.used = 0
        self._module, self._run, self._departs, self._recorded = module, run, departs, recorded
        self._runs, self._end = runs, time.monotonic() + seconds

    def outcome(self, *changes: Change) -> Outcome:
        """Return how far the runs agree with these changes.

        Raises:
            OutOfTrialsError: the limits are reached.
        """
        if self.used >= self._runs or time.monotonic() > self._end:
            raise OutOfTrialsError
        self.used += 1
        try:
            with np.errstate(all="ignore"):
                recording = rerun(self._module, self._run, self._plan([*self.settled, *changes]))
                departure = self._departs(recording)
        except Exception:
            # A change that does not fit, whatever PyTorch or the network's own code says to it, explains nothing.
            return Outcome(-math.inf, None, None)
        return Outcome(math.inf if departure is None else departure[0], departure, recording)

    def _plan(self, changes: Iterable[Change]) -> Plan:
        calls: dict[tuple[str, int], Any] = {}
        inputs: dict[str, Any] = {}
        outputs: dict[str, Any] = {}
        skipped: set[str] = set()
        for change in changes:
            calls |= {self._recorded.calls[index].where: edit for index, edit in change.edits.items()}
            inputs |= change.inputs
            outputs |= change.outputs
            skipped |= change.skipped
        return Plan(calls, inputs, outputs, frozenset(skipped))
