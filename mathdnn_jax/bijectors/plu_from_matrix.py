"""PLU maps built from given invertible matrices."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from mathdnn_jax.bijectors.bijector import Bijector, Params
from mathdnn_jax.bijectors.conv1x1 import conv1x1
from mathdnn_jax.bijectors.permutation import Indices, check_permutation
from mathdnn_jax.bijectors.plu import plu
from mathdnn_jax.errors import ConfigurationError


def plu_from_matrix(matrix: ArrayLike, permutation: Indices | None = None) -> tuple[Bijector, Params]:
    """Factorise a matrix as A = P L (U + diag s) and return it as a `plu` map.

    Without a permutation, P comes from Gaussian elimination with partial pivoting, and the entries of L are at most 1
    in magnitude. Given a permutation, L, U and s are unique; for the matrix of a `plu` with that permutation they are
    the factors that the matrix was made of.

    The factors are computed in float64 and returned in the matrix's dtype, float32 or float64 (float64 for integers;
    JAX turns it into float32 if 64-bit types are off). The matrix must be concrete, not traced.

    Returns:
        (bijector, params): a `plu` and its parameters.

    Raises:
        ConfigurationError: the matrix is not square, not real, empty or not finite; or it is singular, or so close to
            singular that float64 cannot tell: some |s_k| ≤ dim ε Σ_j |L_kj| |U_jk|, the rounding error of its own
            computation (a criterion that is invariant under scaling rows or columns); or it has no (accurate)
            factorisation with the given permutation; or a factor is zero or infinite in the matrix's dtype.

    Source: course 000, Q4(a); course 003, P4(a); Golub, Van Loan, "Matrix Computations", 4th edition, sections 3.2 to
    3.4.
    """
    order, params = _factorise(matrix, permutation, "plu_from_matrix")
    return plu(len(order), order), params


def conv1x1_from_matrix(matrix: ArrayLike, permutation: Indices | None = None) -> tuple[Bijector, Params]:
    """Like `plu_from_matrix`, but return a `conv1x1` that applies the matrix (such as a rotation) at every pixel.

    Returns:
        (bijector, params): a `conv1x1` and its parameters.

    Raises:
        ConfigurationError: as in `plu_from_matrix`.

    Source: Kingma, Dhariwal, "Glow: Generative flow with invertible 1×1 convolutions", 2018, section 3.2.
    """
    order, params = _factorise(matrix, permutation, "conv1x1_from_matrix")
    return conv1x1(len(order), order), params


def _factorise(matrix: ArrayLike, permutation: Indices | None, name: str) -> tuple[np.ndarray, Params]:
    given = np.asarray(matrix)
    if given.ndim != 2 or given.shape[0] != given.shape[1] or given.size == 0 or given.dtype.kind not in "fiu":
        raise ConfigurationError(f"{name} takes a square real matrix, given shape {given.shape}, dtype {given.dtype}")
    a = given.astype(np.float64)
    if not np.isfinite(a).all():
        raise ConfigurationError(
            f"{name} takes a matrix of finite numbers, given {(~np.isfinite(a)).sum()} that are not finite"
        )

    import scipy.linalg

    order, lower, upper = scipy.linalg.lu(a, p_indices=True)
    singular = _lost_pivots(lower, upper)
    if len(singular):
        raise ConfigurationError(
            f"{name} takes an invertible matrix, given one of shape {a.shape} that is singular or numerically singular "
            f"in float64: pivots {singular.tolist()} of its elimination are no larger than their rounding error"
        )
    if permutation is not None:
        order = check_permutation(permutation, len(a))
        lower, upper = _without_pivoting(a[np.argsort(order)], name)

    diagonal = np.diag(upper)
    dtype = np.float32 if given.dtype == np.float32 else np.float64
    params = {
        "lower": jnp.asarray(np.tril(lower, -1).astype(dtype)),
        "upper": jnp.asarray(np.triu(upper, 1).astype(dtype)),
        "diagonal": jnp.asarray(diagonal.astype(dtype)),
    }
    found = params["diagonal"]
    if not all(np.isfinite(factor).all() for factor in params.values()) or not np.asarray(found).all():
        raise ConfigurationError(
            f"{name}: the factors do not fit into {found.dtype}; |s| ranges from {np.abs(diagonal).min():.3g} to "
            f"{np.abs(diagonal).max():.3g}; scale the matrix, or use 64-bit types"
        )
    return order.astype(np.int32), params


def _lost_pivots(lower: np.ndarray, upper: np.ndarray) -> np.ndarray:
    """Indices of the pivots that may be zero, being within the rounding error of their own computation."""
    terms = np.einsum("kj,jk->k", np.abs(lower), np.abs(upper))
    return np.flatnonzero(np.abs(np.diag(upper)) <= len(terms) * np.finfo(np.float64).eps * terms)


def _without_pivoting(a: np.ndarray, name: str) -> tuple[np.ndarray, np.ndarray]:
    """L and U + diag s of A = L (U + diag s)."""
    remaining, lower = a.copy(), np.eye(len(a))
    with np.errstate(all="ignore"):
        for k in range(len(a) - 1):
            lower[k + 1 :, k] = remaining[k + 1 :, k] / remaining[k, k]
            remaining[k + 1 :] -= np.outer(lower[k + 1 :, k], remaining[k])
        upper = np.triu(remaining)
        error = np.abs(lower @ upper - a).max() / np.abs(a).max()
    # Half of the digits: an elimination that leaves fewer has met a pivot that is zero up to rounding.
    if not error <= np.sqrt(np.finfo(np.float64).eps) or len(_lost_pivots(lower, upper)):
        raise ConfigurationError(
            f"{name}: the matrix has no factorisation with this permutation, or none that float64 can hold (a leading "
            f"block of its rows in this order is singular, or nearly so); omit the permutation to have one chosen"
        )
    return lower, upper
