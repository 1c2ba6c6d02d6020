"""What a check found wrong."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Finding(NamedTuple):
    """A failed check on one case.

    - `check` and `direction` name it; `claim` says in a sentence what does not hold;
    - `numbers`: (name, value) pairs, the two that differ first;
    - `event`: that the numbers are about, in the event's shape; None for a failure of every event;
    - `hints`: guesses at the mistake, and what to do;
    - `picture`: a matrix whose structure explains the failure, with its title.
    """

    check: str
    direction: str
    claim: str
    numbers: tuple[tuple[str, object], ...] = ()
    event: np.ndarray | None = None
    hints: tuple[str, ...] = ()
    picture: tuple[str, np.ndarray] | None = None
