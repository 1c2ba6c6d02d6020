"""Checks of array values, skipped while JAX traces, when there are no values to check."""

from __future__ import annotations

import jax
import numpy as np
from jax.typing import ArrayLike
from numpy.typing import NDArray

from mathdnn_jax.errors import DomainError


def concrete_values(x: ArrayLike) -> NDArray[np.floating] | None:
    """The values of `x` in float64 on the host, or None if `x` is being traced (jit, grad, vmap)."""
    return None if isinstance(x, jax.core.Tracer) else np.asarray(x, np.float64)


def check_no_nan(**named: ArrayLike) -> None:
    """Check that none of the arrays contains NaN, if they are concrete.

    Raises:
        DomainError: One of them does.
    """
    for name, x in named.items():
        values = concrete_values(x)
        if values is not None and np.isnan(values).any():
            raise DomainError(f"{name} has {np.isnan(values).sum()} NaN among {values.size} entries")


def check_densities(**named: ArrayLike) -> None:
    """Check that the arrays contain densities, finite and at least 0, if they are concrete.

    Raises:
        DomainError: One of them has another value.
    """
    check_no_nan(**named)
    for name, x in named.items():
        values = concrete_values(x)
        if values is not None and values.size and not (values.min() >= 0 and values.max() < np.inf):
            raise DomainError(
                f"{name} ranges from {values.min():.6g} to {values.max():.6g}: densities are finite and at least 0"
            )


def check_positive(**named: ArrayLike) -> None:
    """Check that the numbers are greater than 0 (infinity is allowed), if they are concrete.

    Raises:
        DomainError: One of them is not.
    """
    check_no_nan(**named)
    for name, x in named.items():
        values = concrete_values(x)
        if values is not None and values.size and values.min() <= 0:
            raise DomainError(f"{name} must be greater than 0, given {values.min():.6g}")
