"""Claims about P L (U + diag s), 1×1 convolutions and conditional PLU couplings: F5 to F8, E8."""

from __future__ import annotations

import functools

import flax.linen as nn
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np

from mathdnn_jax.bijectors import (
    Bijector,
    Params,
    conditional_plu_coupling,
    conv1x1,
    permutation,
    plu,
    plu_from_matrix,
    plu_matrix,
)
from mathdnn_jax.claims.claim import claim
from mathdnn_jax.claims.evidence import (
    EPS,
    check_equal,
    check_inverse,
    check_log_det,
    random_event,
    random_params,
    scales,
    seeds,
    with_jacobian,
)

dims = st.integers(1, 6)
shapes = st.sampled_from([(1, 1, 1), (1, 2, 1), (2, 2, 2), (3, 1, 2), (2, 3, 3)])
"""Height, width and channels; few, since every one is compiled."""


_matrix = jax.jit(plu_matrix, static_argnums=1)


def _order(dim: int, seed: int) -> tuple[int, ...]:
    """One of two permutations of so many entries, so that few maps are compiled."""
    return tuple(np.random.default_rng(seed % 2).permutation(dim).tolist())


@functools.cache
def _plu(dim: int, order: tuple[int, ...]) -> Bijector:
    return plu(dim, order)


@functools.cache
def _conv1x1(channels: int, order: tuple[int, ...]) -> Bijector:
    return conv1x1(channels, order)


def _signed(params: Params, seed: int) -> Params:
    """Diagonals of either sign, with magnitudes from 1e-2 to 1e2."""
    rng = np.random.default_rng((seed, 2))
    dim = params["diagonal"].shape[0]
    return params | {"diagonal": jnp.asarray(rng.choice([-1.0, 1.0], dim) * 10 ** rng.uniform(-2, 2, dim))}


@claim(
    "F5.log_det",
    "A = P L (U + diag s): log|det A| = Σ_i log|s_i|",
    source="000 Q4(a), 003 P4(a)",
    dim=dims,
    seed=seeds,
    scale=scales,
)
def plu_log_det(dim: int, seed: int, scale: float) -> None:
    """Compare with the full Jacobian, which is A."""
    order = _order(dim, seed)
    params = _signed(random_params(_plu(dim, order), seed, scale), seed)
    jacobian = check_log_det(_plu(dim, order), params, random_event((dim,), seed))
    size = float(np.abs(jacobian).max())
    check_equal("Jacobian against A", jacobian, _matrix(params, order), 64 * EPS * dim * size)


@claim(
    "F5.inverse",
    "two triangular solves invert A",
    source="000 Q4(a), 003 P4(a)",
    dim=dims,
    seed=seeds,
    scale=scales,
)
def plu_inverse(dim: int, seed: int, scale: float) -> None:
    """Go there and back."""
    order = _order(dim, seed)
    bijector = _plu(dim, order)
    check_inverse(bijector, _signed(random_params(bijector, seed, scale), seed), random_event((dim,), seed))


@claim(
    "F5.factorisation",
    "every invertible A has a factorisation P L (U + diag s)",
    source="000 Q4, remark",
    dim=dims,
    seed=seeds,
)
def plu_factorisation(dim: int, seed: int) -> None:
    """Factorise a random matrix and multiply out."""
    matrix = np.random.default_rng(seed).normal(size=(dim, dim))
    bijector, params = plu_from_matrix(matrix)
    x = random_event((dim,), seed)
    bound = 64 * EPS * dim * np.linalg.cond(matrix) * float(np.abs(matrix).max() * (1 + jnp.abs(x).max()))
    check_equal("P L (U + diag s) x against A x", bijector.forward(params, x)[0], matrix @ x, bound)


@claim(
    "F6.reshape",
    "the log-det of a map on tensors does not depend on how they are flattened: reordering the entries of input and "
    "output alike leaves it",
    source="000 Q4(b), 003 P4(b)",
    shape=shapes,
    seed=seeds,
)
def reshape_invariance(shape: tuple[int, int, int], seed: int) -> None:
    """Conjugate the full Jacobian of a 1×1 convolution, and the map itself, with a random permutation."""
    bijector = _conv1x1(shape[-1], _order(shape[-1], seed))
    params = _signed(random_params(bijector, seed), seed)
    x = random_event(shape, seed)
    _, log_det, jacobian = with_jacobian(bijector.forward, params, x)
    order = np.random.default_rng((seed, 3)).permutation(jacobian.shape[0])
    reordered = permutation(order)

    def conjugated(x: jax.Array) -> jax.Array:
        image, _ = reordered.inverse({}, x)
        z, _ = bijector.forward(params, image.reshape(shape))
        return reordered.forward({}, z.reshape(-1))[0]

    permuted = jax.jit(jax.jacfwd(conjugated))(np.asarray(x).reshape(-1)[order])
    check_equal("its Jacobian", permuted, jacobian[np.ix_(order, order)], 64 * EPS * float(np.abs(jacobian).max()))
    bound = 64 * EPS * len(order) * (np.linalg.cond(jacobian) + abs(log_det))
    check_equal("its log-det", np.linalg.slogdet(permuted)[1], log_det, bound)


@claim(
    "F7.log_det",
    "the 1×1 convolution of an m × n image of C channels by A: log|det ∂Z/∂X| = m n Σ_i log|s_i|",
    source="000 Q4(c), 003 P4(c)",
    shape=shapes,
    seed=seeds,
    scale=scales,
)
def conv1x1_log_det(shape: tuple[int, int, int], seed: int, scale: float) -> None:
    """Compare with the full Jacobian of all m n C entries, and go there and back."""
    height, width, channels = shape
    bijector = _conv1x1(channels, _order(channels, seed))
    params = _signed(random_params(bijector, seed, scale), seed)
    x = random_event(shape, seed)
    jacobian = check_log_det(bijector, params, x)
    expected = height * width * np.log(np.abs(params["diagonal"])).sum()
    bound = 64 * EPS * jacobian.shape[0] * np.linalg.cond(jacobian)
    check_equal("m n Σ log|s|", expected, np.linalg.slogdet(jacobian)[1], bound)
    check_inverse(bijector, params, x)


class _MatrixOfImage(nn.Module):
    """Some smooth function of a whole image, onto C² numbers."""

    channels: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        return nn.Dense(self.channels**2)(jnp.tanh(nn.Dense(4)(x)).mean((-3, -2)))


@functools.cache
def _conditional_plu(channels: int, order: tuple[int, ...]) -> Bijector:
    return conditional_plu_coupling(_MatrixOfImage(channels), channels, permutation=order)


def _conditional_case(shape: tuple[int, int, int], seed: int, scale: float) -> tuple[Bijector, Params, jax.Array]:
    height, width, channels = shape
    bijector = _conditional_plu(channels, _order(channels, seed))
    return bijector, random_params(bijector, seed, scale), random_event((height, width, 2 * channels), seed)


@claim(
    "F8.log_det",
    "Z₁ = X₁, Z₂ the 1×1 convolution of X₂ by P L(X₁) (U(X₁) + diag s(X₁)): log|det ∂Z/∂X| = m n Σ_i log|s_i|",
    source="000 Q4(d), 003 P4(d), erratum E8",
    shape=shapes,
    seed=seeds,
    scale=scales,
)
def conditional_plu_log_det(shape: tuple[int, int, int], seed: int, scale: float) -> None:
    """Compare with the full Jacobian, whose upper right block is zero, and go there and back."""
    bijector, params, x = _conditional_case(shape, seed, scale)
    jacobian = check_log_det(bijector, params, x)
    first = np.broadcast_to(np.arange(x.shape[-1]) < shape[-1], x.shape).ravel()
    check_equal("∂Z₁/∂X₂", jacobian[np.ix_(first, ~first)], 0.0, 0.0)
    check_inverse(bijector, params, x)


@claim(
    "E8.block_diagonal",
    "the Jacobian of the conditional PLU coupling is block diagonal: ∂Z₂/∂X₁ = 0",
    source="003 P4(d), erratum E8",
    verdict="refuted",
    shape=shapes,
    seed=seeds,
)
def conditional_plu_is_block_diagonal(shape: tuple[int, int, int], seed: int) -> None:
    """Look at the lower left block of the full Jacobian: Z₂ depends on X₁ through L, U and s."""
    bijector, params, x = _conditional_case(shape, seed, 1.0)
    _, log_det, jacobian = with_jacobian(bijector.forward, params, x)
    first = np.broadcast_to(np.arange(x.shape[-1]) < shape[-1], x.shape).ravel()
    block = jacobian[np.ix_(~first, first)]
    if np.abs(block).max() > 1e-6:
        raise AssertionError(
            f"∂Z₂/∂X₁ has an entry of {np.abs(block).max():.6g}; the log-det stands all the same: "
            f"{log_det:.12g} against {np.linalg.slogdet(jacobian)[1]:.12g} of the full Jacobian"
        )


CLAIMS = (
    plu_log_det,
    plu_inverse,
    plu_factorisation,
    reshape_invariance,
    conv1x1_log_det,
    conditional_plu_log_det,
    conditional_plu_is_block_diagonal,
)
