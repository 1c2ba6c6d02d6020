"""Arithmetic with A = P L (U + diag s), for one matrix or a batch of them."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.linalg import solve_triangular


class Factors(NamedTuple):
    """L (…, dim, dim) unit lower triangular, U + diag s (…, dim, dim) upper triangular, and P as row indices.

    Row i of A is row `rows[i]` of L (U + diag s); None means P = I.
    """

    unit_lower: jax.Array
    scaled_upper: jax.Array
    rows: np.ndarray | None


def factors(lower: jax.Array, upper: jax.Array, diagonal: jax.Array, rows: np.ndarray | None) -> Factors:
    """Build the factors from the strict triangles of `lower` and `upper` (…, dim, dim), and from s (…, dim)."""
    on_diagonal = np.eye(diagonal.shape[-1], dtype=bool)
    unit_lower = jnp.where(on_diagonal, jnp.ones((), lower.dtype), jnp.tril(lower, -1))
    return Factors(unit_lower, jnp.where(on_diagonal, diagonal[..., None], jnp.triu(upper, 1)), rows)


def matrix(a: Factors) -> jax.Array:
    """A (…, dim, dim)."""
    product = jnp.matmul(a.unit_lower, a.scaled_upper, precision=jax.lax.Precision.HIGHEST)
    return product if a.rows is None else jnp.take(product, a.rows, axis=-2)


def multiply(a: Factors, x: jax.Array) -> jax.Array:
    """A x for each of n vectors, (…, n, dim) → (…, n, dim), with at most 2 dim² multiplications per vector.

    For n ≥ dim the matrix is assembled (dim³ multiplications) and applied in one product; for fewer vectors there are
    two products with the factors. Products keep all digits of their dtype, as do the triangular solves of the inverse.
    """
    if x.shape[-2] >= x.shape[-1]:
        return _products(x, matrix(a))
    z = _products(x, a.scaled_upper, a.unit_lower)
    return z if a.rows is None else jnp.take(z, a.rows, axis=-1)


def solve(a: Factors, z: jax.Array) -> jax.Array:
    """A⁻¹ z for each of n vectors, (…, n, dim) → (…, n, dim), by two triangular solves in at least float32.

    GPUs have no triangular solve in fewer digits.
    """
    if a.rows is not None:
        z = jnp.take(z, np.argsort(a.rows).astype(np.int32), axis=-1)
    columns = jnp.swapaxes(z, -1, -2)
    given = columns.dtype
    wide = jnp.float32 if jnp.finfo(given).bits < 32 else given
    columns = solve_triangular(a.unit_lower.astype(wide), columns.astype(wide), lower=True, unit_diagonal=True)
    return jnp.swapaxes(solve_triangular(a.scaled_upper.astype(wide), columns), -1, -2).astype(given)


def log_abs(diagonal: jax.Array) -> jax.Array:
    """log|s|, whose gradient is 1/s."""
    return jnp.log(jnp.abs(diagonal))


def _products(x: jax.Array, *matrices: jax.Array) -> jax.Array:
    for b in matrices:
        x = jnp.einsum("...ni,...oi->...no", x, b, precision=jax.lax.Precision.HIGHEST)
    return x
