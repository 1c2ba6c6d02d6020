"""What the properties of all claims share: seeds to draw from, and a comparison that reports its numbers."""

from __future__ import annotations

from typing import Any

import hypothesis.strategies as st
import numpy as np

EPS = float(np.finfo(np.float64).eps)

UNDECIDED = 0.01
"""A bound beyond this, relative to the quantity's natural size, decides nothing."""

seeds = st.integers(0, 2**31 - 1)
"""Seeds of everything random in one case."""


class Undecided(Exception):  # noqa: N818 (not an error: the case is replaced by another one)
    """A case that float64 cannot decide: rounding alone explains a difference of UNDECIDED or more.

    `run_claim` draws another case in its place, and counts it as undecided.
    """


def check_equal(what: str, given: Any, expected: Any, bound: Any) -> None:
    """Check that two arrays agree.

    Args:
        what: what is compared, the beginning of the message.
        given: what the library computed.
        expected: the truth, of the same shape, or one number for all entries.
        bound: how far they may differ, one number or one for each entry.

    Raises:
        AssertionError: they differ by more, or either is NaN, and the message shows the entry that is farthest off;
            or there are no entries to compare.
    """
    given, expected = np.asarray(given), np.asarray(expected)
    if expected.shape not in ((), given.shape):
        raise AssertionError(f"{what}: got shape {given.shape}, expected {expected.shape}")
    if not given.size:
        raise AssertionError(f"{what}: got shape {given.shape}, in which there is nothing to compare")
    expected, bound = np.broadcast_to(expected, given.shape), np.broadcast_to(bound, given.shape)
    difference = np.abs(given - expected)
    # Written so that NaN fails.
    if not (difference <= bound).all():
        worst = worst_entry(difference - bound)
        place = f" at {tuple(map(int, worst))}" if worst else ""
        raise AssertionError(
            f"{what}: got {given[worst]:.12g}, expected {expected[worst]:.12g}{place}; "
            f"the difference {difference[worst]:.3g} is more than the {bound[worst]:.3g} allowed"
        )


def worst_entry(excess: np.ndarray) -> tuple[np.intp, ...]:
    """The index of the greatest entry, or of the first NaN."""
    return np.unravel_index(int(np.argmax(excess)), excess.shape)
