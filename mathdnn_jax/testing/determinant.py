"""The determinant of a matrix whose entries span hundreds of orders of magnitude."""

from __future__ import annotations

import numpy as np


def equilibrated(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Return (A, r, c) with matrix_ij = A_ij 2^(r_i + c_j), where each row and column of A has its maximum in [½, 1).

    The exponents are whole numbers, so nothing is rounded. They are applied all at once, so nothing underflows on the
    way if a map stretches one entry by 10⁷⁰ and shrinks another by 10⁻²⁵⁰. If a row or a column is zero, the result is
    None.
    """
    mantissas, powers = np.frexp(matrix)
    powers = np.where(matrix == 0, -np.inf, powers)
    if not (np.isfinite(powers).any(0).all() and np.isfinite(powers).any(1).all()):
        return None
    rows = powers.max(1)
    columns = (powers - rows[:, None]).max(0)
    rows = (powers - columns).max(1)
    powers = powers - rows[:, None] - columns
    # The determinant does not depend on anything below 2^-1000.
    shift = np.where(powers > -1000, powers, -1000).astype(np.int64)
    return np.where(powers > -1000, np.ldexp(mantissas, shift), 0.0), rows.astype(np.int64), columns.astype(np.int64)


def log_abs_det(jacobian: np.ndarray) -> tuple[float, float]:
    """Return the sign and log|det| of a square matrix.

    The matrix is equilibrated first, because elimination loses small rows and columns beside large ones.
    """
    scaled = equilibrated(jacobian)
    if scaled is None:
        return 0.0, -np.inf
    matrix, rows, columns = scaled
    sign, log_det = np.linalg.slogdet(matrix)
    return float(sign), float(log_det + np.log(2) * (rows.sum() + columns.sum()))
