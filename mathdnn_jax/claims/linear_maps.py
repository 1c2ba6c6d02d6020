"""Claims about the matrix P L (U + diag s), and about convolutions by it with a 1×1 kernel: F5, F7."""

from __future__ import annotations

import functools

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg

from mathdnn_jax.bijectors import Bijector, Params, conv1x1, plu, plu_from_matrix, plu_matrix
from mathdnn_jax.claims.claim import claim
from mathdnn_jax.claims.evidence import EPS, check_equal, seeds
from mathdnn_jax.claims.map_evidence import Case, check_inverse, check_log_det, random_case, scales, with_jacobian

dims = st.integers(1, 6)
shapes = st.sampled_from([(1, 1, 1), (1, 2, 1), (2, 2, 2), (3, 1, 2), (2, 3, 3)])
"""Height, width and channels; few shapes, since each is compiled."""

_matrix = jax.jit(plu_matrix, static_argnums=1)


def order_of(dim: int, seed: int) -> tuple[int, ...]:
    """One of two permutations of `dim` entries, so that few maps are compiled."""
    return tuple(np.random.default_rng(seed % 2).permutation(dim).tolist())


@functools.cache
def _plu(dim: int, order: tuple[int, ...]) -> Bijector:
    return plu(dim, order)


@functools.cache
def _conv1x1(channels: int, order: tuple[int, ...]) -> Bijector:
    return conv1x1(channels, order)


def _signed(case: Case, seed: int) -> Case:
    """The same case with a diagonal whose entries have either sign, and magnitudes from 1e-2 to 1e2."""
    rng = np.random.default_rng((seed, 2))
    dim = case.params["diagonal"].shape[0]
    diagonal = jnp.asarray(rng.choice([-1.0, 1.0], dim) * 10 ** rng.uniform(-2, 2, dim))
    return case._replace(params=case.params | {"diagonal": diagonal})


def _plu_case(dim: int, seed: int, scale: float) -> Case:
    return _signed(random_case(_plu(dim, order_of(dim, seed)), (dim,), seed, scale), seed)


def conv1x1_case(shape: tuple[int, int, int], seed: int, scale: float = 1.0) -> Case:
    """A 1×1 convolution of images of this shape, one of two permutations, and an image."""
    channels = shape[-1]
    return _signed(random_case(_conv1x1(channels, order_of(channels, seed)), shape, seed, scale), seed)


def factors(
    lower: np.ndarray, upper: np.ndarray, s: np.ndarray, order: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """P, L and U + diag s as matrices: row i of P has its 1 in column order[i]."""
    dim = len(s)
    return np.eye(dim)[list(order)], np.tril(lower, -1) + np.eye(dim), np.triu(upper, 1) + np.diag(s)


def _factors(params: Params, order: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    lower, upper, diagonal = (np.asarray(params[name]) for name in ("lower", "upper", "diagonal"))
    return factors(lower, upper, diagonal, order)


def product(permutation: np.ndarray, lower: np.ndarray, upper: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A = P L (U + diag s), and how far another computation of its entries may be off."""
    return permutation @ lower @ upper, 64 * EPS * len(lower) * (permutation @ np.abs(lower) @ np.abs(upper))


@claim(
    "F5.log_det",
    "A = P L (U + diag s): log|det A| = Σ_i log|s_i|",
    source="course 000, Q4(a); course 003, P4(a)",
    dim=dims,
    seed=seeds,
    scale=scales,
)
def plu_log_det(dim: int, seed: int, scale: float) -> None:
    """Multiply the matrices P, L and U + diag s, and compare with Σ log|s|, the map's Jacobian and its log-det."""
    case, order = _plu_case(dim, seed, scale), order_of(dim, seed)
    examined = check_log_det(*case)
    matrix, bound = product(*_factors(case.params, order))
    total = np.log(np.abs(np.asarray(case.params["diagonal"]))).sum()
    check_equal("Σ log|s|", total, np.linalg.slogdet(matrix)[1], examined.bound)
    check_equal("Jacobian against P L (U + diag s)", examined.jacobian, matrix, bound)
    check_equal("plu_matrix against P L (U + diag s)", _matrix(case.params, order), matrix, bound)
    check_equal("z against A x", examined.z, matrix @ np.asarray(case.x), bound @ np.abs(np.asarray(case.x)))


@claim(
    "F5.inverse",
    "two triangular solves invert A = P L (U + diag s)",
    source="course 000, Q4(a); course 003, P4(a)",
    dim=dims,
    seed=seeds,
    scale=scales,
)
def plu_inverse(dim: int, seed: int, scale: float) -> None:
    """Map an event to its image and back, by the map's inverse and by two triangular solves."""
    case = _plu_case(dim, seed, scale)
    bound = check_inverse(*case)
    permutation, lower, upper = _factors(case.params, order_of(dim, seed))
    z = np.asarray(with_jacobian(*case)[0])
    middle = scipy.linalg.solve_triangular(lower, permutation.T @ z, lower=True, unit_diagonal=True)
    check_equal("x by two solves", scipy.linalg.solve_triangular(upper, middle), np.asarray(case.x), bound)


@claim(
    "F5.factorisation",
    "every invertible A has a factorisation P L (U + diag s)",
    source="course 000, Q4",
    dim=dims,
    seed=seeds,
)
def plu_factorisation(dim: int, seed: int) -> None:
    """Factorise a random matrix, and multiply the factors: each row of the identity is mapped to a column of A."""
    matrix = np.random.default_rng(seed).normal(size=(dim, dim))
    bijector, params = plu_from_matrix(matrix)
    columns = np.asarray(bijector.forward(params, jnp.eye(dim))[0]).T
    _, lower, upper = _factors(params, tuple(range(dim)))
    bound = 64 * EPS * dim * (np.abs(lower) @ np.abs(upper)).max()
    check_equal("P L (U + diag s) against A", columns, matrix, bound)
    total = np.log(np.abs(np.asarray(params["diagonal"]))).sum()
    bound = 64 * EPS * dim * np.linalg.cond(matrix) * (1 + abs(total))
    check_equal("Σ log|s|", total, np.linalg.slogdet(matrix)[1], bound)


@claim(
    "F7.log_det",
    "the 1×1 convolution of an m × n image by A = P L (U + diag s): log|det ∂Z/∂X| = m n Σ_i log|s_i|",
    source="course 000, Q4(c); course 003, P4(c)",
    shape=shapes,
    seed=seeds,
    scale=scales,
)
def conv1x1_log_det(shape: tuple[int, int, int], seed: int, scale: float) -> None:
    """Compare with the full Jacobian of all entries, m n blocks A, and map an event to its image and back."""
    height, width, channels = shape
    case = conv1x1_case(shape, seed, scale)
    examined = check_log_det(*case)
    total = height * width * np.log(np.abs(np.asarray(case.params["diagonal"]))).sum()
    check_equal("m n Σ log|s|", total, np.linalg.slogdet(examined.jacobian)[1], examined.bound)
    matrix, bound = product(*_factors(case.params, order_of(channels, seed)))
    blocks, bounds = (np.kron(np.eye(height * width), part) for part in (matrix, bound))
    check_equal("Jacobian against blocks of A", examined.jacobian, blocks, bounds)
    check_inverse(*case)
