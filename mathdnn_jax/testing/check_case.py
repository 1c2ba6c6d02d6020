"""All checks on one case, in the order in which a mistake is explained best."""

from __future__ import annotations

from typing import NamedTuple

import jax
import numpy as np

from mathdnn_jax.testing.cases import Case, float32
from mathdnn_jax.testing.check_consistency import check_batch, check_float32, check_jit
from mathdnn_jax.testing.check_event import CheckState, EventChecker
from mathdnn_jax.testing.check_float64 import check_returned, neighbours, overflows
from mathdnn_jax.testing.condition import EPS, inverse_matrix, no_slack, round_trip_scale, tolerance_of
from mathdnn_jax.testing.exact_failures import RoundTrip, log_det_failure, round_trip_failure
from mathdnn_jax.testing.failure import Failure
from mathdnn_jax.testing.high_precision.numbers import UnresolvedError
from mathdnn_jax.testing.high_precision.point import Point
from mathdnn_jax.testing.onto import check_onto
from mathdnn_jax.testing.programs import BATCH, STEP, Analysis, Direction
from mathdnn_jax.testing.support import Support

HIDDEN = 1e-3
"""If rounding alone moves x by more than this part of its scale, float64 cannot decide anything about the inverse."""

DECISIVE = 1e-2
"""A round trip is decided if it may be off by less than this part of its event's scale."""


class CaseChecker(NamedTuple):
    """The two directions of a map, their supports, and the state that all cases share."""

    forward: Direction
    inverse: Direction | None
    support: Support
    latent_support: Support
    state: CheckState

    def __call__(self, case: Case, without_jit: bool) -> tuple[Failure | None, bool]:
        """Return the first check that fails on this case, or None, and whether its log_det could be decided.

        `without_jit` says whether the checks that take longest are made too: without jit, and of the image.
        """
        checker = self._checker(self.forward, case, case.x)
        if overflows(checker.analysis):
            return None, False
        failure, decided = self._check_direction(checker, without_jit)
        if failure is None and self.inverse is not None:
            failure = self._check_inverse(self.inverse, checker, without_jit)
        elif failure is None and case.z is not None and without_jit:
            failure = check_onto(checker, self.latent_support)
        return failure, decided

    def _checker(self, direction: Direction, case: Case, x: np.ndarray) -> EventChecker:
        support = self.support if direction is self.forward else self.latent_support
        return EventChecker(self.state, direction, support, case, direction.analyse(case.params, case.context, x))

    def _after(self, first: EventChecker, direction: Direction) -> EventChecker:
        """Return the checker of a direction at the value that the other direction returns."""
        there = self._checker(direction, first.case, first.analysis.value.reshape(direction.shape))
        there.origin = first
        return there

    def _check_direction(self, checker: EventChecker, without_jit: bool) -> tuple[Failure | None, bool]:
        """Check one direction at one event. Return the failure or None, and whether log_det could be decided there."""
        if overflows(checker.analysis):
            return None, False
        outcome = checker.finite()
        if outcome.go_on:
            outcome = checker.log_det()
        if outcome.failure is not None or not outcome.go_on:
            return outcome.failure, outcome.decided
        failure = checker.derivative() or self._check_consistency(checker, without_jit)
        failure = failure or checker.gradients()
        if failure is None and self.state.float32:
            failure = self._check_float32(checker)
        return failure, outcome.decided

    def _check_consistency(self, checker: EventChecker, without_jit: bool) -> Failure | None:
        direction, analysis, case = checker.direction, checker.analysis, checker.case
        tolerance, slack = self.state.tolerance, no_slack(analysis)
        x = analysis.x.reshape(direction.shape)
        xs = np.concatenate([x[None], checker.support.keep_inside(x, neighbours(x, BATCH - 1, 0.1))])
        contexts = jax.tree.map(lambda leaf: np.stack([np.asarray(leaf)] * BATCH), case.context)
        failure = None
        if without_jit:
            failure = check_jit(direction, analysis, case.params, case.context, tolerance, slack)
            if failure is not None:
                failure = check_jit(direction, analysis, case.params, case.context, tolerance, checker.slack())
        if failure is None:
            failure = check_batch(direction, analysis, case.params, contexts, xs, tolerance, slack)
            if failure is not None:
                failure = check_batch(direction, analysis, case.params, contexts, xs, tolerance, checker.slack())
        return failure

    def _check_float32(self, checker: EventChecker) -> Failure | None:
        direction, case = checker.direction, checker.case
        x = checker.analysis.x.reshape(direction.shape)
        rounded = float32(x)
        # So close to an end of its support, an event may well lie beyond it in float32.
        step = STEP * (1 + np.abs(x))
        if (checker.support.outside(x - step) | checker.support.outside(x + step)).any():
            return None
        if not np.array_equal(rounded, x):
            if checker.support.outside(rounded).any():
                return None
            checker = checker.at(rounded)
            if not (np.isfinite(checker.analysis.value).all() and np.isfinite(checker.analysis.log_det)):
                return None
        failure = check_float32(direction, checker.analysis, case.params, case.context, no_slack(checker.analysis))
        if failure is None:
            return None
        return check_float32(direction, checker.analysis, case.params, case.context, checker.float32_slack())

    def _check_inverse(self, inverse: Direction, checker: EventChecker, without_jit: bool) -> Failure | None:
        """Check the round trip from x, the inverse at z = f(x), then the inverse and round trip at an independent z."""
        analysis, case = checker.analysis, checker.case
        there = self._after(checker, inverse)
        scale = _scale(analysis)
        if scale is None:
            return self._check_exactly("inverse(forward(x))", checker, there)
        failure = self._check_round_trip("inverse(forward(x))", checker, there, scale)
        failure = failure or self._check_direction(there, without_jit)[0]
        if failure is not None or case.z is None:
            return failure
        there = self._checker(inverse, case, case.z)
        failure, _ = self._check_direction(there, without_jit)
        if failure is not None or overflows(there.analysis):
            return failure
        back = self._after(there, self.forward)
        scale = _scale(there.analysis)
        if scale is None:
            return self._check_exactly("forward(inverse(z))", there, back)
        return self._check_round_trip("forward(inverse(z))", there, back, scale)

    def _check_round_trip(
        self, what: str, first: EventChecker, second: EventChecker, scale: np.ndarray
    ) -> Failure | None:
        """Check that the second map returns the event that the first one was given."""
        tolerance = self._tolerance(first, second)
        failure = check_returned(what, first.direction, first.analysis, second.analysis, tolerance * scale)
        sure = (tolerance * scale < DECISIVE * (1 + np.abs(first.analysis.x))).all()
        if failure is None and (sure or not self.state.may_spend_more):
            return None
        trip = self._trip(what, first, second)
        try:
            return round_trip_failure(trip, first.analysis, second.analysis.value, tolerance, failure)
        except UnresolvedError as error:
            self.state.unresolved = str(error)
        confirmed = failure is not None and first.float64_suffices(failure) and second.float64_suffices(failure)
        return failure if confirmed else None

    def _check_exactly(self, what: str, first: EventChecker, second: EventChecker) -> Failure | None:
        """Check the formulas of the round trip and of the second map's log_det, if float64 can decide neither.

        At a kink of a piecewise map, log_det must be wrong everywhere around it too.
        """
        if not self.state.may_spend_more:
            return None
        try:
            tolerance = self._tolerance(first, second)
            failure = round_trip_failure(self._trip(what, first, second), first.analysis, None, tolerance, None)
            if failure is not None or second.direction is not self.inverse:
                return failure
            failure = self._check_exact_log_det(what, first, second)
            if failure is None:
                return None
            for near in first.neighbours():
                there = first.at(near)
                if self._check_exact_log_det(what, there, self._after(there, second.direction)) is None:
                    return None
        except UnresolvedError as error:
            self.state.unresolved = str(error)
            return None
        return failure

    def _check_exact_log_det(self, what: str, first: EventChecker, second: EventChecker) -> Failure | None:
        """Check the formula of the second map's log_det at the exact value of the first map."""
        back, tolerance = self._trip(what, first, second).back, self._tolerance(first, second)
        return log_det_failure(second.direction, second.analysis, back, tolerance, None, reported=False)[0]

    def _tolerance(self, first: EventChecker, second: EventChecker) -> float:
        """Return the tolerance of a round trip, whose values may be float32."""
        dtypes = first.analysis.value_dtype, second.analysis.value_dtype
        return max(tolerance_of(dtype, self.state.tolerance) for dtype in dtypes)

    def _trip(self, what: str, first: EventChecker, second: EventChecker) -> RoundTrip:
        case, x = first.case, first.analysis.x.reshape(first.direction.shape)
        back = Point(second.direction, case.params, case.context, x, first.direction, self.state.spend)
        return RoundTrip(what, first.direction, first.point, back)


def _scale(analysis: Analysis) -> np.ndarray | None:
    """Return the scale of the round trip from an event, or None if float64 cannot decide anything about it."""
    matrix = inverse_matrix(analysis)
    if matrix is None:
        return None
    scale = round_trip_scale(analysis, matrix)
    return None if (EPS * scale > HIDDEN * (1 + np.abs(analysis.x))).any() else scale
