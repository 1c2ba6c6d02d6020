"""Claims about priors, couplings and the flows built from them: F1 to F4, F9, F11."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import flax.linen as nn
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np

from mathdnn_jax.bijectors import Bijector, actnorm, affine_coupling, chain, invert, plu_from_matrix
from mathdnn_jax.claims.claim import claim
from mathdnn_jax.claims.evidence import EPS, check_equal, seeds
from mathdnn_jax.claims.map_evidence import check_inverse, check_log_det, random_case, scales
from mathdnn_jax.flows import Flow, flow, glow, nice, real_nvp
from mathdnn_jax.nets import MLP
from mathdnn_jax.probability import logistic_log_density, normal

masks = st.lists(st.booleans(), min_size=2, max_size=6).filter(lambda mask: 0 < sum(mask) < len(mask)).map(tuple)


@claim(
    "F1.density",
    "p(z) = exp(−softplus(z) − softplus(−z)) is the derivative of the distribution function 1/(1 + e^−z)",
    source="course 000, Q3; course 003, P3",
    z=st.floats(-30, 30),
)
def logistic_density(z: float) -> None:
    """Compare with the derivative of the distribution function by autodiff."""
    log_density, derivative = _logistic(z)
    check_equal("density over derivative", np.exp(log_density) / derivative, 1.0, 64 * EPS)


@jax.jit
def _logistic(z: jax.Array) -> tuple[jax.Array, jax.Array]:
    return logistic_log_density(z), jax.grad(lambda z: 1 / (1 + jnp.exp(-z)))(z)


@functools.cache
def _nice(dim: int) -> Flow:
    return nice(dim, width=4, depth=2, couplings=4)


@claim(
    "F2.log_det",
    "NICE: log|det ∂z/∂x| = Σ_i s_i for all shift networks",
    source="course 000, Q3; course 003, P3",
    dim=st.integers(2, 6),
    seed=seeds,
    scale=scales,
)
def nice_log_det(dim: int, seed: int, scale: float) -> None:
    """Compare the sum of the log-scales, and the reported log-det, with the full Jacobian's."""
    case = random_case(_nice(dim).bijector, (dim,), seed, scale)
    jacobian = check_log_det(*case)
    bound = 64 * EPS * dim * np.linalg.cond(jacobian)
    check_equal("Σ s", case.params["scaling"]["log_scale"].sum(), np.linalg.slogdet(jacobian)[1], bound)


@claim(
    "F2.inverse",
    "NICE: g(f(x)) = x",
    source="course 000, Q3; course 003, P3",
    dim=st.integers(2, 6),
    seed=seeds,
    scale=scales,
)
def nice_inverse(dim: int, seed: int, scale: float) -> None:
    """Map an event to its image and back."""
    check_inverse(*random_case(_nice(dim).bijector, (dim,), seed, scale))


@functools.cache
def _coupling(mask: tuple[bool, ...]) -> Bijector:
    return affine_coupling(MLP((4, 2 * (len(mask) - sum(mask))), nn.tanh), np.asarray(mask))


@claim(
    "F3.log_det",
    "z_Ω = x_Ω, z_Ωᶜ = exp(s(x_Ω)) ⊙ x_Ωᶜ + t(x_Ω): log|det ∂z/∂x| = 1ᵀ s(x_Ω) for any Ω",
    source="course 002, P3",
    mask=masks,
    seed=seeds,
    scale=scales,
)
def coupling_log_det(mask: Sequence[bool], seed: int, scale: float) -> None:
    """Compare with the full Jacobian; its rows in Ω are those of the identity."""
    jacobian = check_log_det(*random_case(_coupling(tuple(mask)), (len(mask),), seed, scale))
    check_equal("rows of Ω", jacobian[list(mask)], np.eye(len(mask))[list(mask)], 0.0)


@claim(
    "F3.inverse",
    "the affine coupling is inverted by x_Ω = z_Ω, x_Ωᶜ = exp(−s(z_Ω)) ⊙ (z_Ωᶜ − t(z_Ω))",
    source="course 002, P3",
    mask=masks,
    seed=seeds,
    scale=scales,
)
def coupling_inverse(mask: Sequence[bool], seed: int, scale: float) -> None:
    """Map an event to its image and back."""
    check_inverse(*random_case(_coupling(tuple(mask)), (len(mask),), seed, scale))


@functools.cache
def _image_flow(name: str) -> tuple[Flow, tuple[int, ...]]:
    """A small flow with the same kinds of parts as a large one, and the shape of its events."""
    if name == "real_nvp":
        return real_nvp((2, 4, 1), scales=2, couplings=1, width=3, depth=1), (2, 4, 1)
    if name == "glow":
        return glow((4, 4, 1), levels=2, steps=1, width=3, depth=1), (4, 4, 1)
    return glow((4, 4, 1), levels=2, steps=1, width=3, depth=1, mixing="conditional_plu"), (4, 4, 1)


def _check_density(name: str, seed: int, scale: float) -> None:
    made, event_shape = _image_flow(name)
    case = random_case(made.bijector, event_shape, seed, scale)
    case = case._replace(x=0.5 + 0.3 * jnp.tanh(case.x))
    check_log_det(*case)
    check_inverse(*case)


@claim(
    "F4.log_det",
    "RealNVP, including squeezing, factoring out and the logit: the log-det is the full Jacobian's, and g(f(x)) = x",
    source="course 002, P3",
    seed=seeds,
    scale=scales,
)
def real_nvp_log_det(seed: int, scale: float) -> None:
    """Compare with the full Jacobian of the whole composition, from pixels to one latent vector."""
    _check_density("real_nvp", seed, scale)


@claim(
    "F9.log_det",
    "Glow, with 1×1 convolutions or conditional PLU couplings: the log-det is the full Jacobian's, and g(f(x)) = x",
    source="course 000, Q4",
    name=st.sampled_from(["glow", "glow of conditional PLU couplings"]),
    seed=seeds,
    scale=scales,
)
def glow_log_det(name: str, seed: int, scale: float) -> None:
    """Compare with the full Jacobian of the whole composition, from pixels to one latent vector."""
    _check_density(name, seed, scale)


@claim(
    "F11.density",
    "X = A Y + b with Y ~ N(0, I) has the density of N(b, A Aᵀ) at every point",
    source="course 001, P4",
    dim=st.integers(1, 5),
    seed=seeds,
)
def gaussian_density(dim: int, seed: int) -> None:
    """Compare the flow x → A⁻¹(x − b) with the Gaussian's closed form, to 1e-10 relative to the condition of A."""
    rng = np.random.default_rng(seed)
    matrix, mean, x = rng.normal(size=(dim, dim)), rng.normal(size=dim), rng.normal(size=dim)
    linear, linear_params = plu_from_matrix(matrix)
    whole = flow(chain(shift=actnorm(dim, event_ndims=1), linear=invert(linear)), normal((dim,)))
    params = {"shift": {"log_scale": np.zeros(dim), "bias": -mean}, "linear": linear_params}
    covariance = matrix @ matrix.T
    expected = jax.jit(jax.scipy.stats.multivariate_normal.logpdf)(x, mean, covariance)
    found = jax.jit(whole.log_prob)(params, x)
    check_equal("log-density", found, expected, 1e-10 * np.linalg.cond(covariance))
