"""The block structure of a Jacobian: which parts of the event its determinant comes from, and a picture of it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import connected_components, maximum_bipartite_matching

from mathdnn_jax.testing.determinant import log_abs_det

ZERO = 1e-12
"""Entries below this part of the greatest of their row count as zero."""


class Block(NamedTuple):
    """A diagonal block of the block triangular form: its rows and columns, and log|det| of it."""

    rows: tuple[int, ...]
    columns: tuple[int, ...]
    log_det: float
    sign: float


def pattern(matrix: np.ndarray) -> np.ndarray:
    """Where the matrix is not zero."""
    greatest = np.abs(matrix).max(1, initial=0.0, keepdims=True)
    return np.asarray(np.abs(matrix) > ZERO * greatest)


def blocks(matrix: np.ndarray) -> list[Block]:
    """The diagonal blocks of the finest block triangular form; none where the pattern alone makes it singular.

    A maximum matching pairs each row with a column where the matrix is not zero; with columns in that order the blocks
    are the strongly connected parts of the pattern as a graph. The determinant is the product of those of the blocks.
    """
    if not np.isfinite(matrix).all() or not matrix.size:
        return []
    nonzero = pattern(matrix)
    # The diagonal is taken where it can be, so that a block reads as the entries that it is about.
    matched = np.arange(len(matrix))
    if not nonzero.diagonal().all():
        matched = np.asarray(maximum_bipartite_matching(csr_matrix(nonzero.astype(np.int8)), perm_type="column"))
    if (matched < 0).any():
        return []
    graph = csr_matrix(nonzero[:, matched].astype(np.int8))
    count, labels = connected_components(graph, directed=True, connection="strong")
    found = []
    for label in range(count):
        rows = np.flatnonzero(labels == label)
        columns = matched[rows]
        with np.errstate(all="ignore"):
            sign, log_det = log_abs_det(matrix[np.ix_(rows, columns)])
        found.append(Block(tuple(map(int, rows)), tuple(map(int, columns)), float(log_det), float(sign)))
    return sorted(found)


def picture(matrix: np.ndarray, most: int = 16) -> list[str]:
    """Rows of characters: see `LEGEND`; the upper left corner where the matrix is large."""
    nonzero = pattern(np.nan_to_num(matrix, nan=1.0, posinf=1.0, neginf=1.0))

    def sign(value: float, here: bool) -> str:
        if not np.isfinite(value):
            return "?"
        if not here:
            return "·"
        if abs(abs(value) - 1) < ZERO:
            return "1" if value > 0 else "I"
        return "+" if value > 0 else "-"

    corner = matrix[:most, :most]
    lines = [
        " ".join(sign(float(value), bool(here)) for value, here in zip(row, where[:most], strict=True))
        + (" …" if matrix.shape[1] > most else "")
        for row, where in zip(corner, nonzero, strict=False)
    ]
    return [*lines, "…"] if matrix.shape[0] > most else lines


LEGEND = "· zero, 1 one, I minus one, + positive, - negative, ? not finite"
