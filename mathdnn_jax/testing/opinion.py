"""The judgement of one direction at one event, from float64 and high precision together.

A failure in float64 counts only if it is confirmed in high precision. High precision also decides what float64 cannot.
If it cannot follow a map (one of PyTorch's, an unknown primitive, a program that would take too long), a failure in
float64 counts only where float64 can be trusted alone, see `plain`. Otherwise the case is undecided.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from mathdnn_jax.testing.cases import Case
from mathdnn_jax.testing.check_event import (
    NOT_FINITE,
    check_derivative,
    check_finite,
    check_log_det,
    decides,
    neighbours,
)
from mathdnn_jax.testing.condition import Slack, matrix_slack, tolerance_of, unlimited
from mathdnn_jax.testing.differences import differences
from mathdnn_jax.testing.exact_findings import derivative_finding, finite_finding, log_det_finding
from mathdnn_jax.testing.finding import Finding
from mathdnn_jax.testing.high_precision.numbers import UnresolvedError, nearest
from mathdnn_jax.testing.high_precision.point import Point
from mathdnn_jax.testing.high_precision.verdict import SIZE, TIMES, moved
from mathdnn_jax.testing.plain import Float32, certainly_singular, has_zero_pattern, in_float32
from mathdnn_jax.testing.programs import FAR, STEP, Analysis, Direction
from mathdnn_jax.testing.support import Support

UNASKED = 1e6
"""The work, about a second, that one check spends on cases in which float64 finds nothing wrong and cannot decide."""


class Precision:
    """What the opinions of one check share: its options, the work in high precision, and why that could not decide."""

    def __init__(self, tolerance: float, *, float32: bool) -> None:
        self.tolerance = tolerance
        self.float32 = float32
        self.unresolved: str | None = None
        self._spent = 0.0

    def spend(self, work: float) -> None:
        """Count work that was done."""
        self._spent += work

    @property
    def may_be_asked(self) -> bool:
        """Whether some work is left for cases in which nothing was found wrong."""
        return self._spent < UNASKED


class Outcome(NamedTuple):
    """A finding or None, whether the log_det was decided, and whether float64 has numbers for further checks."""

    finding: Finding | None
    decided: bool
    go_on: bool = True


class Opinion:
    """A direction at an event: its analysis in float64, and its point in high precision, evaluated when needed.

    `origin` is the opinion on the map whose value this event is, if it is one.
    """

    def __init__(
        self,
        precision: Precision,
        direction: Direction,
        support: Support,
        case: Case,
        analysis: Analysis,
        origin: Opinion | None = None,
    ) -> None:
        self.precision = precision
        self.direction = direction
        self.support = support
        self.case = case
        self.analysis = analysis
        self.origin = origin

    @functools.cached_property
    def point(self) -> Point:
        """The map at this event in high precision."""
        x = self.analysis.x.reshape(self.direction.shape)
        return Point(self.direction, self.case.params, self.case.context, x, spend=self.precision.spend)

    @functools.cached_property
    def decides(self) -> bool:
        """Whether float64 would see a log_det that is off by a hundredth."""
        return decides(self.analysis, self.precision.tolerance)

    def at(self, x: np.ndarray, step: float | np.ndarray = STEP) -> Opinion:
        """Return the opinion on another event, with central differences of this step."""
        analysis = self.direction.analyse(self.case.params, self.case.context, x, step)
        return Opinion(self.precision, self.direction, self.support, self.case, analysis)

    def stands(self, finding: Finding) -> bool:
        """Return whether a finding of float64 counts although high precision cannot follow the map."""
        if finding.check == "singular":
            return certainly_singular(self.analysis)
        return self.decides and (self._in_float32 is None or self._in_float32.hides_nothing)

    def finite(self) -> Outcome:
        """Check that value, log_det and Jacobian are finite, unless the condition of the case explains why not."""
        analysis = self.analysis
        finding = check_finite(self.direction, analysis)
        if finding is None:
            return Outcome(None, decided=False)
        try:
            if np.isfinite(analysis.value).all() and analysis.log_det == -np.inf:
                found, decided = log_det_finding(self.direction, analysis, self.point, self._tolerance, finding)
                return Outcome(found, decided, go_on=False)
            return Outcome(finite_finding(self.point, analysis, finding), decided=False, go_on=False)
        except UnresolvedError as error:
            self.precision.unresolved = str(error)
        if finding.check == "singular":
            # −∞ may be the logarithm of a pivot that rounding made zero, unless zeros of the Jacobian explain it.
            kept = finding._replace(check="finite", claim=NOT_FINITE) if has_zero_pattern(analysis.jacobian) else None
            return Outcome(kept, decided=False, go_on=False)
        return Outcome(finding, decided=False, go_on=False)

    def log_det(self) -> Outcome:
        """Check that log_det is log|det J|. At a kink of a piecewise map it must be wrong nearby too."""
        here = self._log_det_here(self.precision.may_be_asked)
        if here.finding is None:
            return here
        seen = False
        for near in self.neighbours():
            there = self.at(near)
            if not np.isfinite(there.analysis.log_det):
                continue
            # A finding must not depend on what other cases have left of the work, so it is taken to its end.
            if there._log_det_here(True).finding is not None:
                return here
            seen = True
        return Outcome(None, self.decides) if seen else here

    def _log_det_here(self, may_be_asked: bool) -> Outcome:
        finding = check_log_det(self.direction, self.analysis, self.precision.tolerance)
        if finding is None and (self.decides or not may_be_asked):
            return Outcome(None, self.decides)
        try:
            return Outcome(*log_det_finding(self.direction, self.analysis, self.point, self._tolerance, finding))
        except UnresolvedError as error:
            self.precision.unresolved = str(error)
        return Outcome(finding if finding is not None and self.stands(finding) else None, decided=False)

    def derivative(self) -> Finding | None:
        """Check that J is the derivative of the values.

        Several kinks may lie within one step. So the derivative must be wrong with a short step too, and all around.
        """
        finding = found = check_derivative(self.direction, self.analysis, differences(self.analysis))
        if finding is None and (self.decides or not self.precision.may_be_asked):
            return None
        resolved = True
        for place in self._around():
            if finding is not None and place is not self:
                again = check_derivative(self.direction, place.analysis, differences(place.analysis))
                if again is None:
                    return None
            if not resolved:
                continue
            try:
                exact = derivative_finding(self.direction, place.analysis, place.point, self._tolerance)
            except UnresolvedError as error:
                self.precision.unresolved = str(error)
                if finding is None:
                    return None
                resolved = False
            else:
                if exact is None:
                    return None
                found = found or exact
        return found if resolved or (found is not None and self.stands(found)) else None

    def slack(self) -> Slack:
        """Return how far two evaluations in float64 may differ beyond what moving the arguments explains.

        That is the change that results from rounding of constants, inputs, sums and solves, and the error of float64.
        """
        try:
            error = np.abs(self.analysis.value - nearest(self.point.value.value))
            log_det_error = abs(float(self.analysis.log_det) - float(self.point.value.log_det))
            change = moved(self.point, SIZE)
        except UnresolvedError as unresolved:
            self.precision.unresolved = str(unresolved)
            seen = self._in_float32 is None or self._in_float32.hides_nothing
            return matrix_slack(self.analysis, TIMES * SIZE) if seen else unlimited(self.analysis)
        return Slack(TIMES * (change.value + error), TIMES * (change.log_det + log_det_error))

    def float32_slack(self) -> Slack:
        """Return the same for an evaluation in float32, where constants, sums and solves are moved like arguments."""
        try:
            change = moved(self.point, STEP)
        except UnresolvedError as unresolved:
            self.precision.unresolved = str(unresolved)
            seen = self._in_float32 is None or self._in_float32.keeps_the_jacobian
            return matrix_slack(self.analysis, FAR * STEP) if seen else unlimited(self.analysis)
        return Slack(FAR * change.value, FAR * change.log_det)

    @functools.cached_property
    def _in_float32(self) -> Float32 | None:
        if not self.precision.float32:
            return None
        return in_float32(self.direction, self.analysis, self.case.params, self.case.context)

    def _around(self) -> Iterator[Opinion]:
        x = self.analysis.x.reshape(self.direction.shape)
        yield self
        # Values of neighbours are too near in a map that stretches much, and share the kinks that lie within a step.
        for near in (x, *self.support.keep(x, neighbours(x))):
            yield self.at(near, self._short_step)

    @property
    def _short_step(self) -> np.ndarray:
        """A step for central differences that is shorter than `STEP`, for each entry of the event.

        Around a value it is no longer than what a step of the origin makes: what the inverse of tanh + 10⁻¹⁰ x is
        beyond the values of all events that are tried, nobody asks.
        """
        short = np.full(self.direction.shape, STEP / 64)
        if self.origin is None:
            return short
        first, z = self.origin.analysis, np.abs(self.analysis.x)
        reach = STEP * np.abs(first.jacobian) @ (1 + np.abs(first.x)) / (1 + z)
        return np.asarray(np.minimum(short, reach.reshape(short.shape)))

    def neighbours(self) -> np.ndarray:
        """Return points around this event, inside its support.

        Those around a value are the values around its origin: tanh(14) + 10⁻⁴ is no value of tanh.
        """
        x = self.analysis.x.reshape(self.direction.shape)
        if self.origin is not None:
            values = [self.origin.at(near).analysis.value for near in self.origin.neighbours()]
            return self.support.keep(x, np.reshape(values, (-1, *x.shape)))
        return self.support.keep(x, neighbours(x))

    @property
    def _tolerance(self) -> float:
        dtypes = self.analysis.value_dtype, self.analysis.log_det_dtype
        return max(tolerance_of(dtype, self.precision.tolerance) for dtype in dtypes)
