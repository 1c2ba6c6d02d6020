"""All checks on one case, in the order in which a mistake is best explained."""

from __future__ import annotations

from typing import NamedTuple

import jax
import numpy as np

from mathdnn_jax.testing.condition import EPS, inverse_matrix, round_trip_scale, tolerance_of
from mathdnn_jax.testing.finding import Finding
from mathdnn_jax.testing.judge_event import (
    check_derivative,
    check_finite,
    check_gradients,
    check_log_det,
    decides,
    neighbours,
    overflows,
)
from mathdnn_jax.testing.judge_same import check_batch, check_float32, check_jit
from mathdnn_jax.testing.programs import BATCH, STEP, Analysis, Direction
from mathdnn_jax.testing.recipe import Case, float32
from mathdnn_jax.testing.support import Support

HIDDEN = 1e-3
"""Where rounding alone moves x by so much of its scale, nothing about the inverse can be decided."""


class Judge(NamedTuple):
    """The two directions, their supports, and which checks are made."""

    forward: Direction
    inverse: Direction | None
    support: Support
    latent_support: Support
    tolerance: float
    float32: bool

    def __call__(self, case: Case, plainly: bool) -> tuple[Finding | None, bool]:
        """The first check that fails on this case, or None; and whether its log_det could be decided.

        `plainly` says whether the map is also called without jit, which takes longer than all the rest.
        """
        analysis = self.forward.analyse(case.params, case.context, case.x)
        finding = self._one_direction(self.forward, self.support, analysis, case, plainly)
        if finding is not None or overflows(analysis):
            return finding, False
        if self.inverse is not None:
            finding = self._backwards(self.inverse, analysis, case, plainly)
        return finding, decides(analysis, self.tolerance)

    def _one_direction(
        self, direction: Direction, support: Support, analysis: Analysis, case: Case, plainly: bool
    ) -> Finding | None:
        if overflows(analysis):
            return None
        params, context, tolerance = case.params, case.context, self.tolerance
        finding = check_finite(direction, analysis)
        finding = finding or self._log_det(direction, support, analysis, case)
        finding = finding or self._derivative(direction, support, analysis, case)
        if plainly:
            finding = finding or check_jit(direction, analysis, params, context, tolerance)
        x = analysis.x.reshape(direction.shape)
        others = support.keep(x, neighbours(x, BATCH - 1, 0.1))
        contexts = jax.tree.map(lambda leaf: np.stack([np.asarray(leaf)] * BATCH), context)
        xs = np.concatenate([x[None], others])
        finding = finding or check_batch(direction, analysis, params, contexts, xs, tolerance)
        finding = finding or check_gradients(direction, analysis)
        if finding is None and self.float32:
            finding = self._float32(direction, support, analysis, case)
        return finding

    def _log_det(self, direction: Direction, support: Support, analysis: Analysis, case: Case) -> Finding | None:
        finding = check_log_det(direction, analysis, self.tolerance)
        if finding is None:
            return None
        # A piecewise map has kinks, where a derivative is one side's: only what is wrong on an open set is wrong.
        x = analysis.x.reshape(direction.shape)
        for near in support.keep(x, neighbours(x)):
            there = direction.analyse(case.params, case.context, near)
            if not np.isfinite(there.log_det) or check_log_det(direction, there, self.tolerance) is not None:
                return finding
        return None

    def _derivative(self, direction: Direction, support: Support, analysis: Analysis, case: Case) -> Finding | None:
        finding = check_derivative(direction, analysis)
        x = analysis.x.reshape(direction.shape)
        # Several kinks may lie within one step: what is wrong is so for a short step too, and all around.
        for near in [x, *support.keep(x, neighbours(x))]:
            if finding is not None:
                there = direction.analyse(case.params, case.context, near, STEP / 64)
                finding = finding if check_derivative(direction, there) is not None else None
        return finding

    def _float32(self, direction: Direction, support: Support, analysis: Analysis, case: Case) -> Finding | None:
        x = analysis.x.reshape(direction.shape)
        rounded = float32(x)
        # So near to an end of its support, what float32 makes of an event may well lie beyond.
        step = STEP * (1 + np.abs(x))
        if (support.left(x - step) | support.left(x + step)).any():
            return None
        if not np.array_equal(rounded, x):
            if support.left(rounded).any():
                return None
            analysis = direction.analyse(case.params, case.context, rounded)
            if not (np.isfinite(analysis.value).all() and np.isfinite(analysis.log_det)):
                return None
        return check_float32(direction, analysis, case.params, case.context)

    def _backwards(self, inverse: Direction, analysis: Analysis, case: Case, plainly: bool) -> Finding | None:
        matrix = inverse_matrix(analysis)
        if matrix is None:
            return None
        scale = round_trip_scale(analysis, matrix)
        if (EPS * scale > HIDDEN * (1 + np.abs(analysis.x))).any():
            return None
        z = analysis.value.reshape(inverse.shape)
        back = inverse.analyse(case.params, case.context, z)
        finding = _returns("round_trip", "inverse(forward(x))", self.forward, analysis, back, scale, self.tolerance)
        finding = finding or self._one_direction(inverse, self.latent_support, back, case, plainly)
        if finding is not None or case.z is None:
            return finding
        there = inverse.analyse(case.params, case.context, case.z)
        finding = self._one_direction(inverse, self.latent_support, there, case, plainly)
        matrix = inverse_matrix(there)
        if finding is not None or matrix is None or overflows(there):
            return finding
        scale = round_trip_scale(there, matrix)
        if (EPS * scale > HIDDEN * (1 + np.abs(there.x))).any():
            return None
        again = self.forward.analyse(case.params, case.context, there.value.reshape(self.forward.shape))
        return _returns("round_trip", "forward(inverse(z))", inverse, there, again, scale, self.tolerance)


def _returns(
    check: str, what: str, first: Direction, there: Analysis, back: Analysis, scale: np.ndarray, tolerance: float
) -> Finding | None:
    """The second map returns the event that the first one was given, within tolerance · scale."""
    tolerance = max(tolerance_of(dtype, tolerance) for dtype in (there.value_dtype, back.value_dtype))
    off = np.abs(back.value - there.x)
    wrong = ~(off <= tolerance * scale)
    if not wrong.any():
        return None
    i = int(np.where(wrong, np.nan_to_num(off, nan=np.inf) / scale, -1).argmax())
    numbers: tuple[tuple[str, object], ...] = (
        (what, back.value[i]),
        ("must be", there.x[i]),
        ("allowed difference", tolerance * scale[i]),
        ("entry", tuple(int(k) for k in np.unravel_index(i, first.shape))),
        ("entries that are wrong", f"{int(wrong.sum())} of {wrong.size}"),
    )
    product = back.jacobian @ there.jacobian - np.eye(there.x.size)
    picture = (f"Jacobian of {what}, minus the identity", np.where(np.abs(product) < 1e-6, 0.0, product))
    claim = f"{what} must be what was put in"
    return Finding(check, first.name, claim, numbers, there.x.reshape(first.shape), (), picture)
