"""The checks of one direction at one event, in float64 and high precision together.

A failure in float64 counts only if high precision confirms it. High precision also decides what float64 cannot. If it
cannot follow a map (PyTorch's, an unsupported primitive, a program that would take too long), a failure in float64
counts only if float64 can be trusted alone, see `float64_alone`. Otherwise the case is undecided.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from mathdnn_jax.testing.cases import Case
from mathdnn_jax.testing.check_float64 import (
    NOT_FINITE,
    check_derivative,
    check_finite,
    check_log_det,
    is_decisive,
    neighbours,
)
from mathdnn_jax.testing.check_gradients import check_finite_gradients, gradient_failure, wrong_gradients
from mathdnn_jax.testing.condition import Slack, matrix_slack, no_slack, tolerance_of, unlimited
from mathdnn_jax.testing.differences import differences
from mathdnn_jax.testing.exact_failures import derivative_failure, finite_failure, log_det_failure
from mathdnn_jax.testing.exact_gradients import Tangent, is_confirmed
from mathdnn_jax.testing.failure import Failure
from mathdnn_jax.testing.float64_alone import Float32, certainly_singular, has_zero_pattern, in_float32
from mathdnn_jax.testing.high_precision.numbers import UnresolvedError, nearest
from mathdnn_jax.testing.high_precision.point import Point
from mathdnn_jax.testing.high_precision.verdict import SIZE, TIMES, moved
from mathdnn_jax.testing.programs import FAR, STEP, Analysis, Direction
from mathdnn_jax.testing.support import Support

SPECULATIVE_WORK = 1e6
"""The work, about a second, that one check spends on cases in which float64 finds nothing wrong and cannot decide."""

SHORTER = 64
"""A short step for central differences is this many times shorter than `STEP`."""


class CheckState:
    """What all cases of one check share: its options, the work in high precision, and why that could not decide."""

    def __init__(self, tolerance: float, *, float32: bool) -> None:
        self.tolerance = tolerance
        self.float32 = float32
        self.unresolved: str | None = None
        self._spent = 0.0

    def spend(self, work: float) -> None:
        """Count work that has been done."""
        self._spent += work

    @property
    def may_spend_more(self) -> bool:
        """Whether there is work left for cases in which nothing was found wrong."""
        return self._spent < SPECULATIVE_WORK


class Outcome(NamedTuple):
    """A failure or None, whether log_det was decided, and whether float64 has finite numbers for further checks."""

    failure: Failure | None
    decided: bool
    go_on: bool = True


class EventChecker:
    """Checks a direction at an event, by its analysis in float64 and, if needed, by its point in high precision.

    If the event is the value of another map, `origin` is the checker of that map.
    """

    def __init__(
        self,
        state: CheckState,
        direction: Direction,
        support: Support,
        case: Case,
        analysis: Analysis,
        origin: EventChecker | None = None,
    ) -> None:
        self.state = state
        self.direction = direction
        self.support = support
        self.case = case
        self.analysis = analysis
        self.origin = origin

    @functools.cached_property
    def point(self) -> Point:
        """The map at this event in high precision."""
        x = self.analysis.x.reshape(self.direction.shape)
        return Point(self.direction, self.case.params, self.case.context, x, spend=self.state.spend)

    @functools.cached_property
    def is_decisive(self) -> bool:
        """Whether float64 would notice a log_det that is off by a hundredth."""
        return is_decisive(self.analysis, self.state.tolerance)

    def at(self, x: np.ndarray, step: float | np.ndarray = STEP, least: float = 1.0) -> EventChecker:
        """Return the checker of another event, with central differences of this step, see `Direction.analyse`."""
        analysis = self.direction.analyse(self.case.params, self.case.context, x, step, least)
        return EventChecker(self.state, self.direction, self.support, self.case, analysis)

    def float64_suffices(self, failure: Failure) -> bool:
        """Return whether a failure in float64 counts although high precision cannot follow the map."""
        if failure.check == "singular":
            return certainly_singular(self.analysis)
        return self.is_decisive and (self._in_float32 is None or self._in_float32.hides_nothing)

    def finite(self) -> Outcome:
        """Check that value, log_det and Jacobian are finite, unless the condition of the case explains it."""
        analysis = self.analysis
        failure = check_finite(self.direction, analysis)
        if failure is None:
            return Outcome(None, decided=False)
        try:
            if np.isfinite(analysis.value).all() and analysis.log_det == -np.inf:
                found, decided = log_det_failure(self.direction, analysis, self.point, self._tolerance, failure)
                return Outcome(found, decided, go_on=False)
            return Outcome(finite_failure(self.point, analysis, failure), decided=False, go_on=False)
        except UnresolvedError as error:
            self.state.unresolved = str(error)
        if failure.check == "singular":
            # −∞ may be the logarithm of a pivot that rounding made zero, unless the Jacobian's zeros explain it.
            kept = failure._replace(check="finite", claim=NOT_FINITE) if has_zero_pattern(analysis.jacobian) else None
            return Outcome(kept, decided=False, go_on=False)
        return Outcome(failure, decided=False, go_on=False)

    def log_det(self) -> Outcome:
        """Check that log_det is log|det J|. At a kink of a piecewise map it must be wrong nearby too."""
        here = self._log_det_here(self.state.may_spend_more)
        if here.failure is None:
            return here
        seen = False
        for near in self.neighbours():
            there = self.at(near)
            if not np.isfinite(there.analysis.log_det):
                continue
            # A failure must not depend on how much work other cases have left, so it is always examined to the end.
            if there._log_det_here(True).failure is not None:
                return here
            seen = True
        return Outcome(None, self.is_decisive) if seen else here

    def _log_det_here(self, may_spend_more: bool) -> Outcome:
        failure = check_log_det(self.direction, self.analysis, self.state.tolerance)
        if failure is None and (self.is_decisive or not may_spend_more):
            return Outcome(None, self.is_decisive)
        try:
            return Outcome(*log_det_failure(self.direction, self.analysis, self.point, self._tolerance, failure))
        except UnresolvedError as error:
            self.state.unresolved = str(error)
        return Outcome(failure if failure is not None and self.float64_suffices(failure) else None, decided=False)

    def derivative(self) -> Failure | None:
        """Check that J is the derivative of the values.

        Several kinks may lie within one step. So the derivative must also be wrong with a short step, and everywhere
        around the event.
        """
        failure = found = check_derivative(self.direction, self.analysis, differences(self.analysis))
        if failure is None and (self.is_decisive or not self.state.may_spend_more):
            return None
        resolved = True
        for place in self._around():
            if failure is not None and place is not self:
                again = check_derivative(self.direction, place.analysis, differences(place.analysis))
                if again is None:
                    return None
            if not resolved:
                continue
            try:
                exact = derivative_failure(self.direction, place.analysis, place.point, self._tolerance)
            except UnresolvedError as error:
                self.state.unresolved = str(error)
                if failure is None:
                    return None
                resolved = False
            else:
                if exact is None:
                    return None
                found = found or exact
        return found if resolved or (found is not None and self.float64_suffices(found)) else None

    def gradients(self) -> Failure | None:
        """Check that gradients are finite, and that they are the derivatives of value and log_det.

        Like a derivative, they must also be wrong with a short step and everywhere around the event, and by more than
        rounding explains.
        """
        failure = check_finite_gradients(self.direction, self.analysis)
        if failure is not None:
            return failure
        none = no_slack(self.analysis)
        for place in self._around():
            if not any(wrong_gradients(place.analysis, none)):
                return None
        slack = self.slack()
        for found in wrong_gradients(self.analysis, slack):
            failure = gradient_failure(self.direction, self.analysis, found)
            try:
                wrong = is_confirmed(Tangent(found, self.direction, self.case, self.analysis, self.state.spend))
            except UnresolvedError as error:
                self.state.unresolved = str(error)
                # A step may be longer than an entry that is divided by, so entries are moved by parts of themselves.
                parts = self.at(self.analysis.x.reshape(self.direction.shape), SHORTER * STEP, least=0.0)
                wrong = any(wrong_gradients(parts.analysis, slack)) and self.float64_suffices(failure)
            if wrong:
                return failure
        return None

    def slack(self) -> Slack:
        """Return how far two evaluations in float64 may differ beyond what moving the arguments explains.

        That is the change caused by rounding of constants, inputs, sums and solves, plus the error of float64.
        """
        try:
            error = np.abs(self.analysis.value - nearest(self.point.value.value))
            log_det_error = abs(float(self.analysis.log_det) - float(self.point.value.log_det))
            change = moved(self.point, SIZE)
        except UnresolvedError as unresolved:
            self.state.unresolved = str(unresolved)
            seen = self._in_float32 is None or self._in_float32.hides_nothing
            return matrix_slack(self.analysis, TIMES * SIZE) if seen else unlimited(self.analysis)
        return Slack(TIMES * (change.value + error), TIMES * (change.log_det + log_det_error))

    def float32_slack(self) -> Slack:
        """Return the same for an evaluation in float32, where constants, sums and solves are moved like arguments."""
        try:
            change = moved(self.point, STEP)
        except UnresolvedError as unresolved:
            self.state.unresolved = str(unresolved)
            seen = self._in_float32 is None or self._in_float32.keeps_the_jacobian
            return matrix_slack(self.analysis, FAR * STEP) if seen else unlimited(self.analysis)
        return Slack(FAR * change.value, FAR * change.log_det)

    @functools.cached_property
    def _in_float32(self) -> Float32 | None:
        if not self.state.float32:
            return None
        return in_float32(self.direction, self.analysis, self.case.params, self.case.context)

    def _around(self) -> Iterator[EventChecker]:
        x = self.analysis.x.reshape(self.direction.shape)
        yield self
        # In a map that stretches a lot, the values of neighbours are too close, and share the kinks within one step.
        for near in (x, *self.support.keep_inside(x, neighbours(x))):
            yield self.at(near, self._short_step)

    @property
    def _short_step(self) -> np.ndarray:
        """A step for central differences that is shorter than `STEP`, for each entry of the event.

        Around a value it is at most the change that a step of the origin causes. Beyond the values of the events that
        are tried, it does not matter what the inverse of, say, tanh + 10⁻¹⁰ x is.
        """
        short = np.full(self.direction.shape, STEP / SHORTER)
        if self.origin is None:
            return short
        first, z = self.origin.analysis, np.abs(self.analysis.x)
        reach = STEP * np.abs(first.jacobian) @ (1 + np.abs(first.x)) / (1 + z)
        return np.asarray(np.minimum(short, reach.reshape(short.shape)))

    def neighbours(self) -> np.ndarray:
        """Return points around this event, inside its support.

        Around a value they are the values of points around its origin: tanh(14) + 10⁻⁴ is not a value of tanh.
        """
        x = self.analysis.x.reshape(self.direction.shape)
        if self.origin is not None:
            values = [self.origin.at(near).analysis.value for near in self.origin.neighbours()]
            return self.support.keep_inside(x, np.reshape(values, (-1, *x.shape)))
        return self.support.keep_inside(x, neighbours(x))

    @property
    def _tolerance(self) -> float:
        dtypes = self.analysis.value_dtype, self.analysis.log_det_dtype
        return max(tolerance_of(dtype, self.state.tolerance) for dtype in dtypes)
