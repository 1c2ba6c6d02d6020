"""Gaussians with a full covariance: log-density, sampling, and KL in closed form, all by Cholesky factors."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import jax.scipy.stats
from jax.scipy.linalg import solve_triangular
from jax.typing import ArrayLike

from mathdnn_jax.errors import EventShapeError
from mathdnn_jax.probability.checks import check_no_nan
from mathdnn_jax.probability.covariance import checked_covariance
from mathdnn_jax.probability.tangent_gap import tangent_gap


def gaussian_log_prob(x: ArrayLike, mean: ArrayLike, covariance: ArrayLike) -> jax.Array:
    """Log N(x; μ, Σ) = −½ ‖L⁻¹ (x − μ)‖² − Σ_i log L_ii − (d/2) log 2π with L Lᵀ = Σ, in nats.

    `x` and `mean` have the shape (..., d), `covariance` (..., d, d); their leading axes are batch axes, broadcast
    against one another, and the shape of the result. The arguments are those of `jax.scipy.stats`, which computes it.

    Raises:
        EventShapeError: the event axes do not agree.
        CovarianceError: the covariance is concrete and not symmetric, not positive definite, or too ill-conditioned;
            see `checked_covariance` for the limits, and for what a traced one gives (NaN).
        DomainError: `mean` is concrete and NaN. A NaN in `x` gives NaN.

    Source: seed 001 P6 and 002 P5 (the density), 001 P4.
    """
    x, mean, covariance = jnp.asarray(x), jnp.asarray(mean), checked_covariance(covariance)
    _check_events(covariance, x=x, mean=mean)
    check_no_nan(mean=mean)
    return jnp.asarray(jax.scipy.stats.multivariate_normal.logpdf(x, mean, covariance))


def gaussian_sample(key: jax.Array, mean: ArrayLike, covariance: ArrayLike, shape: tuple[int, ...] = ()) -> jax.Array:
    """X = μ + L ε, ε standard normal, L Lᵀ = Σ: of shape `shape + batch + (d,)` and the dtype of the mean.

    A differentiable function of μ and Σ, so that expectations can be differentiated through it. The arguments are
    those of `jax.random`, but for `shape`, which does not repeat the batch axes.

    Raises:
        EventShapeError, CovarianceError, DomainError: as `gaussian_log_prob`.
    """
    mean, covariance = jnp.asarray(mean), checked_covariance(covariance)
    _check_events(covariance, mean=mean)
    check_no_nan(mean=mean)
    batch = jnp.broadcast_shapes(mean.shape[:-1], covariance.shape[:-2])
    noise = jax.random.normal(key, (*shape, *batch, mean.shape[-1]), mean.dtype)
    return mean + jnp.einsum("...ij,...j->...i", jnp.linalg.cholesky(covariance), noise)


def gaussian_kl(
    mean: ArrayLike, covariance: ArrayLike, other_mean: ArrayLike, other_covariance: ArrayLike
) -> jax.Array:
    """KL(N(μ₀, Σ₀) ‖ N(μ₁, Σ₁)) = ½ (tr(Σ₁⁻¹Σ₀) + ‖L₁⁻¹(μ₁ − μ₀)‖² − d + log(det Σ₁ / det Σ₀)), in nats, ≥ 0.

    Computed as a sum of terms none of which is negative, so that rounding cannot make it so: with M = L₁⁻¹ L₀, which
    is lower triangular, ½ (Σ_{i>j} M_ij² + Σ_i (M_ii² − 1 − log M_ii²) + ‖L₁⁻¹(μ₁ − μ₀)‖²). Means have the shape
    (..., d), covariances (..., d, d); the result has the batch shape.

    KL is not symmetric: the expectation is under the first Gaussian.

    Raises:
        EventShapeError, CovarianceError, DomainError: as `gaussian_log_prob`.

    Source: seed 001 P6, 002 P5.
    """
    mean, other_mean = jnp.asarray(mean), jnp.asarray(other_mean)
    covariance, other_covariance = checked_covariance(covariance), checked_covariance(other_covariance)
    _check_events(covariance, mean=mean, other_mean=other_mean)
    _check_events(other_covariance, mean=mean)
    check_no_nan(mean=mean, other_mean=other_mean)
    factor, other_factor = jnp.linalg.cholesky(covariance), jnp.linalg.cholesky(other_covariance)
    shift = (other_mean - mean)[..., None]
    batch = jnp.broadcast_shapes(shift.shape[:-2], factor.shape[:-2], other_factor.shape[:-2])
    factor, other_factor, shift = (jnp.broadcast_to(x, (*batch, *x.shape[-2:])) for x in (factor, other_factor, shift))
    ratio = solve_triangular(other_factor, factor, lower=True)
    whitened = solve_triangular(other_factor, shift, lower=True)
    log_ratio = jnp.log(_diagonal(factor)) - jnp.log(_diagonal(other_factor))
    off_diagonal = jnp.square(jnp.tril(ratio, -1)).sum((-2, -1))
    return 0.5 * (off_diagonal + tangent_gap(2 * log_ratio).sum(-1) + jnp.square(whitened).sum((-2, -1)))


def _diagonal(matrix: jax.Array) -> jax.Array:
    diagonal: jax.Array = jnp.diagonal(matrix, axis1=-2, axis2=-1)
    return diagonal


def _check_events(covariance: jax.Array, **vectors: jax.Array) -> None:
    for name, vector in vectors.items():
        if vector.ndim < 1 or vector.shape[-1] != covariance.shape[-1]:
            raise EventShapeError(
                f"{name} must have {covariance.shape[-1]} as its last axis, as the covariance of shape "
                f"{covariance.shape} has; given the shape {vector.shape}"
            )
