"""Determinants of matrices that span more orders of magnitude than float64 has."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mathdnn_jax.testing.determinant import equilibrated, log_abs_det


@given(
    size=st.integers(1, 6),
    seed=st.integers(0, 2**16),
    powers=st.lists(st.integers(-400, 400), min_size=12, max_size=12),
)
def test_stretching_entries_adds_the_logarithm_of_the_stretch(size: int, seed: int, powers: list[int]) -> None:
    plain = np.random.default_rng(seed).normal(size=(size, size)) + 3 * np.eye(size)
    rows, columns = np.array(powers[:size]), np.array(powers[6 : 6 + size])
    sign, expected = np.linalg.slogdet(plain)
    condition = np.linalg.cond(plain)
    given_sign, given_log_det = log_abs_det(np.ldexp(plain, rows[:, None] + columns))
    assert given_sign == sign
    # The stretch itself is a whole number times log 2. Elimination rounds to about ε times the condition.
    stretch = np.log(2) * (rows.sum() + columns.sum())
    np.testing.assert_allclose(given_log_det, expected + stretch, rtol=1e-14, atol=1e-13 * condition)


def test_a_ratio_that_underflows_is_not_lost() -> None:
    """1e-254 / 1e74 is zero in float64."""
    matrix = np.array([[1e-254, 1e74], [3e-254, -1e74]])
    sign, log_det = log_abs_det(matrix)
    assert sign == -1
    assert log_det == pytest.approx(np.log(4) + (74 - 254) * np.log(10), rel=1e-14)


def test_every_row_and_column_reaches_one_half() -> None:
    matrix = np.ldexp(np.random.default_rng(0).normal(size=(5, 5)), np.arange(25).reshape(5, 5) * 9 - 100)
    scaled = equilibrated(matrix)
    assert scaled is not None
    assert all(0.5 <= greatest < 1 for axis in (0, 1) for greatest in np.abs(scaled[0]).max(axis))
    np.testing.assert_array_equal(np.ldexp(scaled[0], scaled[1][:, None] + scaled[2]), matrix)


def test_a_row_of_zeros_has_no_determinant() -> None:
    assert log_abs_det(np.array([[1.0, 2.0], [0.0, 0.0]])) == (0.0, -np.inf)
    assert equilibrated(np.array([[1.0, 0.0], [2.0, 0.0]])) is None
