"""The part of the line that an event's entries lie in."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from mathdnn_jax.errors import ConfigurationError

Bounds = Any
"""None, or (low, high): numbers, or arrays that broadcast to the event's shape."""


class Support(NamedTuple):
    """An open box low < x < high; the bounds are of the event's shape and may be infinite."""

    low: np.ndarray
    high: np.ndarray

    def place(self, line: np.ndarray) -> np.ndarray:
        """Map entries of (−20, 20) into the box, onto float32 numbers.

        A half-line takes bound ± exp(u / 2), an interval low + (high − low) σ(u / 2): from 5·10⁻⁵ of the interval to
        2·10⁴ units beyond the bound, the middle for u = 0.
        """
        below, above = np.isfinite(self.low), np.isfinite(self.high)
        low, high = np.where(below, self.low, 0.0), np.where(above, self.high, 0.0)
        inside = low + (high - low) / (1 + np.exp(-line / 2))
        placed = np.where(below & above, inside, line)
        placed = np.where(below & ~above, low + np.exp(line / 2), placed)
        placed = np.where(~below & above, high - np.exp(-line / 2), placed)
        rounded = np.asarray(placed, np.float32)
        up, down = np.nextafter(rounded, np.float32(np.inf)), np.nextafter(rounded, np.float32(-np.inf))
        rounded = np.where(rounded <= self.low, up, np.where(rounded >= self.high, down, rounded))
        return np.asarray(rounded, np.float64)

    def left(self, x: np.ndarray) -> np.ndarray:
        """Which entries are not inside the box."""
        return np.asarray((x <= self.low) | (x >= self.high))

    def keep(self, x: np.ndarray, moved: np.ndarray) -> np.ndarray:
        """Moved points that left the box go half the way from x to the bound instead."""
        moved = np.where(moved <= self.low, (x + self.low) / 2, moved)
        return np.asarray(np.where(moved >= self.high, (x + self.high) / 2, moved))


def box(bounds: Any, shape: tuple[int, ...], name: str) -> Support:
    """The support that `bounds` (None, or a pair of numbers or arrays) describes.

    Raises:
        ConfigurationError: it is no pair of bounds low < high that fit the shape.
    """
    try:
        low, high = (-np.inf, np.inf) if bounds is None else bounds
        low, high = (np.broadcast_to(np.asarray(bound, np.float64), shape) for bound in (low, high))
    except (TypeError, ValueError) as error:
        raise ConfigurationError(
            f"{name} is a pair (low, high) of numbers or of arrays that broadcast to {shape}, given {bounds!r}"
        ) from error
    if not (low < high).all():
        raise ConfigurationError(f"{name} needs low < high everywhere, given {bounds!r}")
    return Support(low, high)
