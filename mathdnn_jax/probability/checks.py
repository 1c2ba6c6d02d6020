"""Checks of values, made where there are values to check: not while JAX traces."""

from __future__ import annotations

import jax
import numpy as np
from jax.typing import ArrayLike
from numpy.typing import NDArray

from mathdnn_jax.errors import DomainError


def concrete(x: ArrayLike) -> NDArray[np.floating] | None:
    """The values of `x` in float64 on the host, or None while they are being traced (jit, grad, vmap)."""
    return None if isinstance(x, jax.core.Tracer) else np.asarray(x, np.float64)


def check_no_nan(**named: ArrayLike) -> None:
    """Check that none of the arrays holds NaN, where they are concrete.

    Raises:
        DomainError: one does.
    """
    for name, x in named.items():
        values = concrete(x)
        if values is not None and np.isnan(values).any():
            raise DomainError(f"{name} holds {np.isnan(values).sum()} NaN among {values.size} entries")


def check_densities(**named: ArrayLike) -> None:
    """Check that the arrays hold densities, finite and at least 0, where they are concrete.

    Raises:
        DomainError: one holds another value.
    """
    check_no_nan(**named)
    for name, x in named.items():
        values = concrete(x)
        if values is not None and values.size and not (values.min() >= 0 and values.max() < np.inf):
            raise DomainError(
                f"densities are finite and at least 0; {name} ranges from {values.min():.6g} to {values.max():.6g}"
            )


def check_positive(**named: ArrayLike) -> None:
    """Check that the numbers are greater than 0 (infinity included), where they are concrete.

    Raises:
        DomainError: one is not.
    """
    check_no_nan(**named)
    for name, x in named.items():
        values = concrete(x)
        if values is not None and values.size and values.min() <= 0:
            raise DomainError(f"{name} must be greater than 0, given {values.min():.6g}")
