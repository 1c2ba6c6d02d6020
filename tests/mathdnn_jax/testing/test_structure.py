"""The block triangular form, its picture, and the diagnosis of a wrong log-determinant."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import connected_components, maximum_bipartite_matching, structural_rank

from mathdnn_jax.testing.diagnosis import diagnose
from mathdnn_jax.testing.structure import blocks, picture


@given(st.integers(0, 2**20), st.lists(st.integers(1, 3), min_size=1, max_size=4))
def test_blocks_carry_the_whole_determinant(seed: int, sizes: list[int]) -> None:
    rng = np.random.default_rng(seed)
    label = np.repeat(np.arange(len(sizes)), sizes)
    matrix = rng.normal(size=(len(label),) * 2) * (label[:, None] >= label)
    order = rng.permutation(len(label))
    shuffled = matrix[np.ix_(order, order)]
    found = blocks(shuffled)
    sign, log_det = np.linalg.slogdet(shuffled)
    assert sum(part.log_det for part in found) == pytest.approx(log_det)
    assert np.prod([part.sign for part in found]) == sign
    assert sorted(len(part.rows) for part in found) == sorted(sizes)
    assert {order[row] for part in found for row in part.rows} == set(range(len(label)))


@given(st.integers(0, 2**20), st.integers(1, 9), st.floats(0.1, 0.6))
def test_blocks_of_sparse_matrices_are_those_of_scipy(seed: int, size: int, density: float) -> None:
    rng = np.random.default_rng(seed)
    matrix = rng.normal(size=(size, size)) * (rng.random((size, size)) < density)
    nonzero = csr_matrix((matrix != 0).astype(np.int8))
    found = blocks(matrix)
    if structural_rank(nonzero) < size:
        assert found == []
        return
    columns = maximum_bipartite_matching(nonzero, perm_type="column")
    _, labels = connected_components(nonzero[:, columns], connection="strong")
    expected = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    assert sorted(part.rows for part in found) == sorted(tuple(rows.tolist()) for rows in expected)
    assert sorted(part.columns for part in found) == sorted(tuple(sorted(columns[rows].tolist())) for rows in expected)
    assert sum(part.log_det for part in found) == pytest.approx(np.linalg.slogdet(matrix)[1], abs=1e-9)


def test_a_long_cycle_is_one_block() -> None:
    cycle = np.eye(9) + 2 * np.roll(np.eye(9), 1, axis=1)
    assert [part.rows for part in blocks(cycle)] == [tuple(range(9))]


def test_a_permutation_is_all_single_blocks() -> None:
    matrix = 2 * np.eye(4)[[2, 0, 3, 1]]
    assert [len(part.rows) for part in blocks(matrix)] == [1, 1, 1, 1]
    assert sum(part.log_det for part in blocks(matrix)) == pytest.approx(4 * np.log(2))


def test_no_blocks_where_zeros_alone_make_it_singular() -> None:
    assert blocks(np.asarray([[1.0, 0.0], [1.0, 0.0]])) == []
    assert blocks(np.full((2, 2), np.nan)) == []


def test_a_picture() -> None:
    assert picture(np.asarray([[1.0, 0.0, 2.0], [-1.0, -3.0, np.nan], [0, 0, 1e-15]])) == ["1 · +", "I - ?", "· · +"]
    large = picture(np.eye(20))
    assert len(large) == 17
    assert large[0].endswith("…")


MATRIX = np.asarray([[2.0, 0.0, 0.0], [1.0, 0.5, 0.3], [4.0, 0.2, 3.0]])
TRUTH = float(np.linalg.slogdet(MATRIX)[1])


@pytest.mark.parametrize(
    ("reported", "said"),
    [
        (-TRUTH, "the sign is flipped"),
        (0.0, "no volume change"),
        (TRUTH / 3, "the factor 3 is missing"),
        (np.exp(TRUTH), "the determinant, not its logarithm"),
        (TRUTH / np.log(2), "base 2"),
        (np.log(3.0), "only the Jacobian's diagonal"),
        (TRUTH - np.log(2), "the contribution of output 0 is missing"),
        (2 * TRUTH, "twice"),
    ],
)
def test_diagnosis(reported: float, said: str) -> None:
    assert any(said in mistake for mistake in diagnose(reported, MATRIX, (3,), 1e-9))


def test_some_numbers_have_no_diagnosis() -> None:
    assert diagnose(0.123, MATRIX, (3,), 1e-9) == ()
