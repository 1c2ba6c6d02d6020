"""The part of the real line that an event's entries lie in."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from mathdnn_jax.errors import ConfigurationError

Bounds = Any
"""None, or (low, high), which are numbers or arrays that broadcast to the event's shape."""


class Support(NamedTuple):
    """An open box low < x < high. The bounds have the event's shape and may be infinite."""

    low: np.ndarray
    high: np.ndarray

    def place(self, line: np.ndarray) -> np.ndarray:
        """Map entries u in (−20, 20) into the box, to float32 numbers.

        On a half-line they become bound ± exp(±u / 2), from 5·10⁻⁵ to 2·10⁴ away from the bound. On an interval they
        become low + (high − low) σ(u / 2), which is the middle for u = 0 and 5·10⁻⁵ of the length from an end for ±20.
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

    def outside(self, x: np.ndarray) -> np.ndarray:
        """Return which entries are not inside the box."""
        return np.asarray((x <= self.low) | (x >= self.high))

    def keep_inside(self, x: np.ndarray, moved: np.ndarray) -> np.ndarray:
        """Return the moved points, but those that left the box go halfway from x to the bound instead."""
        moved = np.where(moved <= self.low, (x + self.low) / 2, moved)
        return np.asarray(np.where(moved >= self.high, (x + self.high) / 2, moved))


def box(bounds: Any, shape: tuple[int, ...], name: str) -> Support:
    """Return the support that `bounds` (None, or a pair of numbers or arrays) describes.

    Raises:
        ConfigurationError: `bounds` is not a pair low < high that fits the shape.
    """
    try:
        low, high = (-np.inf, np.inf) if bounds is None else bounds
        low, high = (np.broadcast_to(np.asarray(bound, np.float64), shape) for bound in (low, high))
    except (TypeError, ValueError) as error:
        raise ConfigurationError(
            f"given {name} {bounds!r}; expected a pair (low, high) of numbers or of arrays that broadcast to {shape}"
        ) from error
    if not (low < high).all():
        raise ConfigurationError(f"given {name} {bounds!r}; expected low < high everywhere")
    return Support(low, high)
