"""Covariances whose factors are known exactly: Σ = L Lᵀ with L of small integers, so that no entry of Σ is rounded."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]
Vector = NDArray[np.float64]


@st.composite
def factors(draw: st.DrawFn, dim: int) -> Matrix:
    factor = np.zeros((dim, dim))
    for i in range(dim):
        for j in range(i):
            factor[i, j] = draw(st.integers(-9, 9))
        factor[i, i] = draw(st.integers(1, 9))
    return factor


def vectors(dim: int) -> st.SearchStrategy[Vector]:
    entries = st.floats(-5, 5, allow_subnormal=False, width=32)
    return st.lists(entries, min_size=dim, max_size=dim).map(lambda values: np.array(values, np.float64))


def condition(covariance: Matrix) -> float:
    """The condition number that the precision of Cholesky's method depends on: that of the correlation matrix."""
    scale = np.sqrt(np.diag(covariance))
    return float(np.linalg.cond(covariance / np.outer(scale, scale), 1))
