"""All checks on one case, in the order in which a mistake is best explained."""

from __future__ import annotations

from typing import NamedTuple

import jax
import numpy as np

from mathdnn_jax.testing.cases import Case, float32
from mathdnn_jax.testing.check_consistency import check_batch, check_float32, check_jit
from mathdnn_jax.testing.check_event import check_gradients, neighbours, overflows
from mathdnn_jax.testing.condition import EPS, inverse_matrix, no_slack, round_trip_scale, tolerance_of
from mathdnn_jax.testing.exact_findings import RoundTrip, log_det_finding, round_trip_finding
from mathdnn_jax.testing.finding import Finding
from mathdnn_jax.testing.high_precision.numbers import UnresolvedError
from mathdnn_jax.testing.high_precision.point import Point
from mathdnn_jax.testing.opinion import Opinion, Precision
from mathdnn_jax.testing.programs import BATCH, STEP, Analysis, Direction
from mathdnn_jax.testing.support import Support

HIDDEN = 1e-3
"""Where rounding alone moves x by so much of its scale, float64 can decide nothing about the inverse."""

DECISIVE = 1e-2
"""A round trip that may be off by less of its event's scale is decided."""


class Judge(NamedTuple):
    """The two directions, their supports, and what opinions share."""

    forward: Direction
    inverse: Direction | None
    support: Support
    latent_support: Support
    precision: Precision

    def __call__(self, case: Case, plainly: bool) -> tuple[Finding | None, bool]:
        """The first check that fails on this case, or None; and whether its log_det could be decided.

        `plainly` says whether the map is also called without jit, which takes longer than all the rest.
        """
        opinion = self._opinion(self.forward, case, case.x)
        if overflows(opinion.analysis):
            return None, False
        finding, decided = self._one_direction(opinion, plainly)
        if finding is None and self.inverse is not None:
            finding = self._backwards(self.inverse, opinion, plainly)
        return finding, decided

    def _opinion(self, direction: Direction, case: Case, x: np.ndarray) -> Opinion:
        support = self.support if direction is self.forward else self.latent_support
        return Opinion(self.precision, direction, support, case, direction.analyse(case.params, case.context, x))

    def _after(self, first: Opinion, direction: Direction) -> Opinion:
        """The opinion on a direction at the value that the other one returns."""
        there = self._opinion(direction, first.case, first.analysis.value.reshape(direction.shape))
        there.origin = first
        return there

    def _one_direction(self, opinion: Opinion, plainly: bool) -> tuple[Finding | None, bool]:
        """The first check that fails in one direction at one event, and whether log_det could be decided there."""
        if overflows(opinion.analysis):
            return None, False
        outcome = opinion.finite()
        if outcome.go_on:
            outcome = opinion.log_det()
        if outcome.finding is not None or not outcome.go_on:
            return outcome.finding, outcome.decided
        finding = opinion.derivative() or self._sameness(opinion, plainly)
        finding = finding or check_gradients(opinion.direction, opinion.analysis)
        if finding is None and self.precision.float32:
            finding = self._float32(opinion)
        return finding, outcome.decided

    def _sameness(self, opinion: Opinion, plainly: bool) -> Finding | None:
        direction, analysis, case = opinion.direction, opinion.analysis, opinion.case
        tolerance, slack = self.precision.tolerance, no_slack(analysis)
        x = analysis.x.reshape(direction.shape)
        xs = np.concatenate([x[None], opinion.support.keep(x, neighbours(x, BATCH - 1, 0.1))])
        contexts = jax.tree.map(lambda leaf: np.stack([np.asarray(leaf)] * BATCH), case.context)
        finding = None
        if plainly:
            finding = check_jit(direction, analysis, case.params, case.context, tolerance, slack)
            if finding is not None:
                finding = check_jit(direction, analysis, case.params, case.context, tolerance, opinion.slack())
        if finding is None:
            finding = check_batch(direction, analysis, case.params, contexts, xs, tolerance, slack)
            if finding is not None:
                finding = check_batch(direction, analysis, case.params, contexts, xs, tolerance, opinion.slack())
        return finding

    def _float32(self, opinion: Opinion) -> Finding | None:
        direction, case = opinion.direction, opinion.case
        x = opinion.analysis.x.reshape(direction.shape)
        rounded = float32(x)
        # So near to an end of its support, what float32 makes of an event may well lie beyond.
        step = STEP * (1 + np.abs(x))
        if (opinion.support.left(x - step) | opinion.support.left(x + step)).any():
            return None
        if not np.array_equal(rounded, x):
            if opinion.support.left(rounded).any():
                return None
            opinion = opinion.at(rounded)
            if not (np.isfinite(opinion.analysis.value).all() and np.isfinite(opinion.analysis.log_det)):
                return None
        finding = check_float32(direction, opinion.analysis, case.params, case.context, no_slack(opinion.analysis))
        if finding is None:
            return None
        return check_float32(direction, opinion.analysis, case.params, case.context, opinion.float32_slack())

    def _backwards(self, inverse: Direction, opinion: Opinion, plainly: bool) -> Finding | None:
        """The round trip from x, the inverse at the z that it leads to, and at an independent z and back."""
        analysis, case = opinion.analysis, opinion.case
        there = self._after(opinion, inverse)
        scale = _scale(analysis)
        if scale is None:
            return self._exactly_backwards("inverse(forward(x))", opinion, there)
        finding = self._returns("inverse(forward(x))", opinion, there, scale)
        finding = finding or self._one_direction(there, plainly)[0]
        if finding is not None or case.z is None:
            return finding
        there = self._opinion(inverse, case, case.z)
        finding, _ = self._one_direction(there, plainly)
        if finding is not None or overflows(there.analysis):
            return finding
        back = self._after(there, self.forward)
        scale = _scale(there.analysis)
        if scale is None:
            return self._exactly_backwards("forward(inverse(z))", there, back)
        return self._returns("forward(inverse(z))", there, back, scale)

    def _returns(self, what: str, first: Opinion, second: Opinion, scale: np.ndarray) -> Finding | None:
        """The second map returns the event that the first one was given."""
        tolerance = self._tolerance(first, second)
        finding = _returns(what, first.direction, first.analysis, second.analysis, tolerance * scale)
        sure = (tolerance * scale < DECISIVE * (1 + np.abs(first.analysis.x))).all()
        if finding is None and (sure or not self.precision.may_be_asked):
            return None
        trip = self._trip(what, first, second)
        try:
            return round_trip_finding(trip, first.analysis, second.analysis.value, tolerance, finding)
        except UnresolvedError as error:
            self.precision.unresolved = str(error)
        return finding if finding is not None and first.stands(finding) and second.stands(finding) else None

    def _exactly_backwards(self, what: str, first: Opinion, second: Opinion) -> Finding | None:
        """The formulas of the round trip and of the second map's log_det, where float64 can decide about neither.

        At a kink of a piecewise map log_det must be wrong all around too.
        """
        if not self.precision.may_be_asked:
            return None
        try:
            tolerance = self._tolerance(first, second)
            finding = round_trip_finding(self._trip(what, first, second), first.analysis, None, tolerance, None)
            if finding is not None or second.direction is not self.inverse:
                return finding
            finding = self._exact_log_det(what, first, second)
            if finding is None:
                return None
            for near in first.neighbours():
                there = first.at(near)
                if self._exact_log_det(what, there, self._after(there, second.direction)) is None:
                    return None
        except UnresolvedError as error:
            self.precision.unresolved = str(error)
            return None
        return finding

    def _exact_log_det(self, what: str, first: Opinion, second: Opinion) -> Finding | None:
        """The formula of the second map's log_det at the exact value of the first."""
        back, tolerance = self._trip(what, first, second).back, self._tolerance(first, second)
        return log_det_finding(second.direction, second.analysis, back, tolerance, None, reported=False)[0]

    def _tolerance(self, first: Opinion, second: Opinion) -> float:
        """The tolerance for a round trip, whose values may be float32."""
        dtypes = first.analysis.value_dtype, second.analysis.value_dtype
        return max(tolerance_of(dtype, self.precision.tolerance) for dtype in dtypes)

    def _trip(self, what: str, first: Opinion, second: Opinion) -> RoundTrip:
        case, x = first.case, first.analysis.x.reshape(first.direction.shape)
        back = Point(second.direction, case.params, case.context, x, first.direction, self.precision.spend)
        return RoundTrip(what, first.direction, first.point, back)


def _scale(analysis: Analysis) -> np.ndarray | None:
    """The scale of the round trip from an event; None where float64 can decide nothing about it."""
    matrix = inverse_matrix(analysis)
    if matrix is None:
        return None
    scale = round_trip_scale(analysis, matrix)
    return None if (EPS * scale > HIDDEN * (1 + np.abs(analysis.x))).any() else scale


def _returns(what: str, first: Direction, there: Analysis, back: Analysis, allowed: np.ndarray) -> Finding | None:
    """The second map returns the event that the first one was given, within what is allowed."""
    off = np.abs(back.value - there.x)
    wrong = ~(off <= allowed)
    if not wrong.any():
        return None
    i = int(np.where(wrong, np.nan_to_num(off, nan=np.inf) / allowed, -1).argmax())
    numbers: tuple[tuple[str, object], ...] = (
        (what, back.value[i]),
        ("must be", there.x[i]),
        ("allowed difference", allowed[i]),
        ("entry", tuple(int(k) for k in np.unravel_index(i, first.shape))),
        ("entries that are wrong", f"{int(wrong.sum())} of {wrong.size}"),
    )
    with np.errstate(all="ignore"):
        product = back.jacobian @ there.jacobian - np.eye(there.x.size)
    picture = (f"Jacobian of {what}, minus the identity", np.where(np.abs(product) < 1e-6, 0.0, product))
    claim = f"{what} must be what was put in"
    return Finding("round_trip", first.name, claim, numbers, there.x.reshape(first.shape), (), picture)
