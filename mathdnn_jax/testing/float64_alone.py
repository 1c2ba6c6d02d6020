"""Whether float64 can be trusted on its own, for maps that high precision cannot follow.

A matrix followed by something like its inverse has a Jacobian close to the identity, whose entries are off by ε times
the condition of the matrix. Nothing about the entries shows it, except that in float32 they are off by 2²⁹ times as
much.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mathdnn_jax.testing.cases import Tree
from mathdnn_jax.testing.condition import EPS
from mathdnn_jax.testing.determinant import log_abs_det
from mathdnn_jax.testing.precision import called_in_float32
from mathdnn_jax.testing.programs import STEP, Analysis, Direction, flat
from mathdnn_jax.testing.structure import blocks

NEAR = 1e-2
"""If no large condition is hidden, float32 and float64 differ by at most this times 1 + |result|."""


def has_zero_pattern(jacobian: np.ndarray) -> bool:
    """Return whether the zeros of a matrix make it singular, whatever its other entries are."""
    return bool(np.isfinite(jacobian).all()) and not blocks((jacobian != 0).astype(np.float64))


def certainly_singular(analysis: Analysis) -> bool:
    """Return whether the zeros of the Jacobian make it singular, and rounding does not explain them.

    An entry is known up to ε |z_i| / max(1, |x_j|), so that the slope of tanh at 20, which is 2·10⁻¹⁷, becomes zero.
    With R = diag(1 / |z|) J diag(max(1, |x|)), the determinant cannot be distinguished from one for which every
    singular value of R is raised to at least 16 n ε. Rounding explains the zeros if the reported log_det is at most the
    logarithm of that determinant.
    """
    if not has_zero_pattern(analysis.jacobian):
        return False
    rows, columns = np.maximum(np.abs(analysis.value), np.finfo(np.float64).tiny), np.maximum(1, np.abs(analysis.x))
    scaled = analysis.jacobian * columns / rows[:, None]
    if not np.isfinite(scaled).all():
        return True
    values = np.linalg.svd(scaled, compute_uv=False)
    most = float(np.log(np.maximum(values, 16 * values.size * EPS)).sum())
    return float(analysis.log_det) + float(np.log(columns).sum() - np.log(rows).sum()) > most


class Float32(NamedTuple):
    """The value, log_det and Jacobian of a map in float32, with its analysis in float64."""

    analysis: Analysis
    value: np.ndarray
    log_det: np.ndarray
    jacobian: np.ndarray

    @property
    def hides_nothing(self) -> bool:
        """Whether value, log_det and log|det J| agree with float64 to a hundredth.

        Then hidden rounding is at most a hundredth in float32, and 2·10⁻¹¹ in float64.
        """
        here = self.analysis
        pairs = (
            (here.value, self.value),
            (flat(here.log_det), self.log_det),
            (flat(log_abs_det(here.jacobian)[1]), flat(log_abs_det(self.jacobian)[1])),
        )
        return all(bool((np.abs(ours - theirs) <= NEAR * (1 + np.abs(ours))).all()) for ours, theirs in pairs)

    @property
    def keeps_the_jacobian(self) -> bool:
        """Whether the Jacobian agrees with float64 to 16 roundings. If only the value does not, its formula is poor."""
        here = self.analysis
        scale = np.abs(here.jacobian) + np.outer(np.abs(here.value), 1 / np.maximum(1, np.abs(here.x)))
        return bool((np.abs(self.jacobian - here.jacobian) <= STEP / 2 * scale).all())


def in_float32(direction: Direction, analysis: Analysis, params: Tree, context: Tree) -> Float32:
    """Evaluate a map and its Jacobian in float32, at the nearest float32 event."""
    x = analysis.x.reshape(direction.shape)
    value, log_det, jacobian = called_in_float32(direction.derived, params, context, x)
    return Float32(analysis, flat(value), flat(log_det), flat(jacobian, analysis.value.size))
