"""The block structure of a Jacobian, which shows the parts of the event that its determinant comes from."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mathdnn_jax.testing.determinant import log_abs_det

ZERO = 1e-12
"""An entry counts as zero below this part of the largest entry of its row."""

LEGEND = "· zero, 1 one, I minus one, + positive, - negative, ? not finite"


class Block(NamedTuple):
    """A diagonal block of the block triangular form: its rows and columns, and its log|det| and sign."""

    rows: tuple[int, ...]
    columns: tuple[int, ...]
    log_det: float
    sign: float


def pattern(matrix: np.ndarray) -> np.ndarray:
    """Return where the matrix is not zero."""
    greatest = np.abs(matrix).max(1, initial=0.0, keepdims=True)
    return np.asarray(np.abs(matrix) > ZERO * greatest)


def blocks(matrix: np.ndarray) -> list[Block]:
    """Return the diagonal blocks of the finest block triangular form, or none if zeros alone make the matrix singular.

    A perfect matching pairs each row with a column in which the matrix is not zero. With the columns in that order, the
    blocks are the strongly connected components of the pattern as a graph. The determinant of the matrix is, up to its
    sign, the product of those of the blocks.
    """
    if not np.isfinite(matrix).all() or not matrix.size:
        return []
    nonzero = pattern(matrix)
    # The diagonal is preferred, so that a block consists of the same rows and columns.
    matched = np.arange(len(matrix)) if nonzero.diagonal().all() else _matching(nonzero)
    if matched is None:
        return []
    found = []
    for rows in _components(nonzero[:, matched]):
        columns = np.sort(matched[rows])
        sign, log_det = log_abs_det(matrix[np.ix_(rows, columns)])
        found.append(Block(tuple(map(int, rows)), tuple(map(int, columns)), float(log_det), float(sign)))
    return sorted(found)


def _matching(nonzero: np.ndarray) -> np.ndarray | None:
    """Return a different column for each row of a square pattern, or None if there is no such choice.

    The rows are matched one after the other, each along a shortest alternating path to a free column.
    """
    column_of, row_of = np.full((2, len(nonzero)), -1)
    for start in range(len(nonzero)):
        reached_from: dict[int, int] = {}
        free, queue = -1, [start]
        for row in queue:
            for column in map(int, np.flatnonzero(nonzero[row])):
                if column not in reached_from:
                    reached_from[column] = row
                    if row_of[column] < 0:
                        free = column
                        break
                    queue.append(int(row_of[column]))
            if free >= 0:
                break
        if free < 0:
            return None
        row = -1
        while row != start:
            row = reached_from[free]
            column_of[row], row_of[free], free = free, row, int(column_of[row])
    return column_of


def _components(edges: np.ndarray) -> list[np.ndarray]:
    """Return the strongly connected components of a graph, given as a matrix of booleans."""
    reached = edges | np.eye(len(edges), dtype=bool)
    steps = 1
    while steps < len(edges):
        reached = (reached.astype(np.float32) @ reached.astype(np.float32)) > 0
        steps *= 2
    labels = (reached & reached.T).argmax(1)
    return [np.flatnonzero(labels == label) for label in np.unique(labels)]


def picture(matrix: np.ndarray, most: int = 16) -> list[str]:
    """Return rows of characters, see `LEGEND`. Of a large matrix, only the upper left corner is shown."""
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
