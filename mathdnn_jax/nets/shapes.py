"""Shapes of arrays and windows, and the checks of sizes that users give."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from mathdnn_jax.errors import ConfigurationError

Shape = tuple[int, ...]

Sizes = int | tuple[int, ...]
"""One number for all spatial axes, or one number per axis."""


def sizes(value: Any, ndims: int, what: str, least: int = 1) -> Shape:
    """Return one whole number per spatial axis; a single number is repeated for all of them.

    Raises:
        ConfigurationError: The value is neither a whole number nor `ndims` of them, or one of them is less than
            `least`.
    """
    given = tuple(value) if isinstance(value, Iterable) and not isinstance(value, str) else (value,) * ndims
    if len(given) != ndims or not all(isinstance(n, (int, np.integer)) and not isinstance(n, bool) for n in given):
        raise ConfigurationError(f"got {what}={value!r}; expected one whole number, or {ndims} of them")
    if any(n < least for n in given):
        raise ConfigurationError(f"got {what}={value!r}; expected at least {least}")
    return tuple(int(n) for n in given)


def whole(value: Any, what: str, least: int = 1) -> int:
    """Return one whole number, checked as by `sizes`."""
    return sizes(value, 1, what, least)[0]
