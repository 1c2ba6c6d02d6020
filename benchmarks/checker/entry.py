"""The entries of the zoo: one map each, with what the checker needs to know about it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

LINE = (-np.inf, np.inf)
UNIT, POSITIVE, SYMMETRIC = (0.0, 1.0), (0.0, np.inf), (-1.0, 1.0)
VECTOR = np.asarray([0.5, -0.25, 0.125], np.float32)
MATRIX = np.asarray([[1.0, 0.25, 0.0], [0.5, 1.5, -0.25], [0.25, 0.0, 0.75]], np.float32)

Make = Callable[[], tuple[Any, Any]]
"""Returns (forward, inverse), where inverse may be None; imports the map's library."""


class Entry(NamedTuple):
    """A map to check.

    - `name`: the map's name for a reader;
    - `make`: returns the map;
    - `options`: options of `check_bijector`, beyond the defaults;
    - `catch`: for a map that is wrong on purpose, the checks of which one must fail; empty for a right map;
    - `known`: for a map that its library means to be right, the mistake that was found in it; None for a right map.
    """

    name: str
    make: Make
    options: dict[str, Any]
    catch: tuple[str, ...] = ()
    known: str | None = None


def right(
    name: str,
    make: Make,
    latent_support: tuple[float, float] | None = LINE,
    *,
    event_shape: tuple[int, ...] = (3,),
    known: str | None = None,
    **options: Any,
) -> Entry:
    """Return the entry of a map that its library means to be right; without a latent support, none is declared."""
    support = {} if latent_support is None else {"latent_support": latent_support}
    return Entry(name, make, {"event_shape": event_shape, **support, **options}, known=known)


def wrong(
    name: str, forward: Any, inverse: Any, *catch: str, event_shape: tuple[int, ...] = (3,), **options: Any
) -> Entry:
    """Return the entry of a map that is wrong on purpose, with the checks of which one must fail."""
    return Entry(name, lambda: (forward, inverse), {"event_shape": event_shape, **options}, catch)
