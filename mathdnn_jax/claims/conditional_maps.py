"""Claims about the coupling whose matrix is computed from the other half of the channels: F8, E8."""

from __future__ import annotations

import functools
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from mathdnn_jax.bijectors import Bijector, conditional_plu_coupling
from mathdnn_jax.claims.claim import claim
from mathdnn_jax.claims.evidence import EPS, check_equal, seeds
from mathdnn_jax.claims.linear_maps import factors, order_of, product, shapes
from mathdnn_jax.claims.map_evidence import Case, check_inverse, check_log_det, random_case, scales, with_jacobian


class _MatrixOfImage(nn.Module):
    """A smooth function of a whole image, with C² numbers as its value."""

    channels: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        return nn.Dense(self.channels**2)(jnp.tanh(nn.Dense(4)(x)).mean((-3, -2)))


@functools.cache
def _conditional_plu(channels: int, order: tuple[int, ...]) -> Bijector:
    return conditional_plu_coupling(_MatrixOfImage(channels), channels, permutation=order)


@functools.cache
def _matrix_of_image(channels: int) -> Callable[..., jax.Array]:
    """The compiled conditioner itself, without the library's map."""
    return jax.jit(lambda params, x: _MatrixOfImage(channels).apply({"params": params}, x))


def conditional_case(shape: tuple[int, int, int], seed: int, scale: float = 1.0) -> tuple[Case, np.ndarray]:
    """A conditional PLU coupling, and which of its flattened entries belong to X₁."""
    height, width, channels = shape
    event_shape = (height, width, 2 * channels)
    case = random_case(_conditional_plu(channels, order_of(channels, seed)), event_shape, seed, scale)
    return case, np.broadcast_to(np.arange(2 * channels) < channels, event_shape).ravel()


@claim(
    "F8.log_det",
    "Z₁ = X₁, Z₂ the 1×1 convolution of X₂ by P L(X₁) (U(X₁) + diag s(X₁)): log|det ∂Z/∂X| = m n Σ_i log|s_i|",
    source="course 000, Q4(d); course 003, P4(d); erratum E8",
    shape=shapes,
    seed=seeds,
    scale=scales,
)
def conditional_plu_log_det(shape: tuple[int, int, int], seed: int, scale: float) -> None:
    """Compute the matrix from X₁ by the formula, and compare with the map and with its full Jacobian."""
    height, width, channels = shape
    case, first = conditional_case(shape, seed, scale)
    examined = check_log_det(*case)
    x = np.asarray(case.x)
    numbers = np.asarray(_matrix_of_image(channels)(case.params, x[..., :channels])).reshape(channels, channels)
    # The conditioner returns L below the diagonal, U above it, and log|s| on it.
    s = np.exp(np.diagonal(numbers))
    total = height * width * np.log(np.abs(s)).sum()
    check_equal("m n Σ log|s|", total, np.linalg.slogdet(examined.jacobian)[1], examined.bound)
    matrix, _ = product(*factors(numbers, numbers, s, order_of(channels, seed)))
    bound = 64 * EPS * (1 + examined.z_units)
    check_equal("Z₁", examined.z[first], x[..., :channels].ravel(), 0.0)
    check_equal("Z₂", examined.z[~first], (x[..., channels:] @ matrix.T).ravel(), bound[~first])
    check_equal("∂Z₁/∂X₂", examined.jacobian[np.ix_(first, ~first)], 0.0, 0.0)
    check_equal("∂Z₁/∂X₁", examined.jacobian[np.ix_(first, first)], np.eye(first.sum()), 0.0)
    blocks = np.kron(np.eye(height * width), matrix)
    size = 1 + np.abs(numbers).max()
    check_equal("∂Z₂/∂X₂", examined.jacobian[np.ix_(~first, ~first)], blocks, 64 * EPS * size**2 * np.abs(blocks).max())
    check_inverse(*case)


@claim(
    "E8.block_diagonal",
    "the Jacobian of the conditional PLU coupling is block diagonal: ∂Z₂/∂X₁ = 0",
    source="course 003, P4(d); erratum E8",
    verdict="refuted",
    shape=shapes,
    seed=seeds,
)
def conditional_plu_is_block_diagonal(shape: tuple[int, int, int], seed: int) -> None:
    """Look at the lower left block of the full Jacobian: Z₂ depends on X₁ through L, U and s."""
    case, first = conditional_case(shape, seed)
    _, log_det, jacobian = with_jacobian(*case)
    block = jacobian[np.ix_(~first, first)]
    if np.abs(block).max() > 1e-6:
        raise AssertionError(
            f"∂Z₂/∂X₁ has an entry of {np.abs(block).max():.6g}; the log-det is right nevertheless: "
            f"{log_det:.12g}, against {np.linalg.slogdet(jacobian)[1]:.12g} of the full Jacobian"
        )
