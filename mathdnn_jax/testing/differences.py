"""Central differences, compared with the derivative by autodiff."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mathdnn_jax.testing.condition import EPS
from mathdnn_jax.testing.programs import Analysis

DERIVATIVE_TOLERANCE = 1e-3


class Differences(NamedTuple):
    """The comparison along one tangent dx, with one entry for each entry of the value.

    - `along`: J dx;
    - `gap`: J dx − (f(x + dx) − f(x − dx)) / 2;
    - `scale`: Σ_j |J_ij| |dx_j|;
    - `slack`: how far the two may differ in addition to a thousandth of the scale.
    """

    along: np.ndarray
    gap: np.ndarray
    scale: np.ndarray
    slack: np.ndarray

    @property
    def excess(self) -> np.ndarray:
        """By how much the two differ beyond what is allowed. The third derivative adds |dx|² f‴ / f′ of the scale."""
        # If both are infinite, the result is NaN, which exceeds nothing.
        return np.asarray(np.abs(self.gap) - (DERIVATIVE_TOLERANCE * self.scale + self.slack))


def differences(analysis: Analysis) -> list[Differences]:
    """Compare in float64, along all tangents that stay in the domain.

    The slack is the second difference, because a kink is not a mistake, plus four roundings of `term_magnitude`.
    """
    rounding = 4 * (EPS if analysis.value_dtype == np.float64 else float(np.finfo(np.float32).eps))
    slack = rounding * term_magnitude(analysis.jacobian, analysis.x, analysis.value)
    found = []
    for tangent, ahead, behind in zip(analysis.tangents, analysis.ahead, analysis.behind, strict=True):
        if not (np.isfinite(tangent).all() and np.isfinite(ahead).all() and np.isfinite(behind).all()):
            continue
        along = analysis.jacobian @ tangent
        scale = np.abs(analysis.jacobian) @ np.abs(tangent)
        bend = np.abs(ahead - 2 * analysis.value + behind)
        found.append(Differences(along, along - (ahead - behind) / 2, scale, bend + slack))
    return found


def term_magnitude(jacobian: np.ndarray, x: np.ndarray, value: np.ndarray) -> np.ndarray:
    """Return Σ_j |J_ij| |x_j| + |z_i| + 1, the magnitude of the terms that a value is made of."""
    return np.asarray(np.abs(jacobian) @ np.abs(x) + np.abs(value) + 1)
