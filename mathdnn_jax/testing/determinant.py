"""The determinant of a matrix whose entries span hundreds of orders of magnitude."""

from __future__ import annotations

import numpy as np


def equilibrated(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """(A, r, c) with matrix_ij = A_ij 2^(r_i + c_j), the greatest entry of each row and column of A between ½ and 1.

    The powers are whole numbers, so that nothing is rounded, and applied at once, so that nothing on the way underflows
    where a map stretches one entry by 10⁷⁰ and shrinks another by 10⁻²⁵⁰. None where a row or a column is zero.
    """
    mantissas, powers = np.frexp(matrix)
    powers = np.where(matrix == 0, -np.inf, powers)
    if not (np.isfinite(powers).any(0).all() and np.isfinite(powers).any(1).all()):
        return None
    rows = powers.max(1)
    columns = (powers - rows[:, None]).max(0)
    rows = (powers - columns).max(1)
    powers = powers - rows[:, None] - columns
    # Below 2^-1000 there is nothing that the determinant could feel.
    shift = np.where(powers > -1000, powers, -1000).astype(np.int64)
    return np.where(powers > -1000, np.ldexp(mantissas, shift), 0.0), rows.astype(np.int64), columns.astype(np.int64)


def log_abs_det(jacobian: np.ndarray) -> tuple[float, float]:
    """Sign and log|det|, equilibrated first: elimination loses the small rows and columns of a wide range."""
    scaled = equilibrated(jacobian)
    if scaled is None:
        return 0.0, -np.inf
    matrix, rows, columns = scaled
    sign, log_det = np.linalg.slogdet(matrix)
    return float(sign), float(log_det + np.log(2) * (rows.sum() + columns.sum()))
