"""A failed check."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Failure(NamedTuple):
    """A failed check on one case.

    - `check` and `direction` name it, and `claim` states in a sentence what should hold;
    - `numbers`: (name, value) pairs, beginning with the two that differ;
    - `event`: the event that the numbers belong to, in the event's shape; None if every event fails;
    - `hints`: likely mistakes, and what to do about them;
    - `picture`: a title, and a matrix whose structure explains the failure.
    """

    check: str
    direction: str
    claim: str
    numbers: tuple[tuple[str, object], ...] = ()
    event: np.ndarray | None = None
    hints: tuple[str, ...] = ()
    picture: tuple[str, np.ndarray] | None = None
