"""Gaussians with a full covariance: log-density, sampling and closed-form KL, all by Cholesky factorisation."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import jax.scipy.stats
from jax.scipy.linalg import solve_triangular
from jax.typing import ArrayLike

from mathdnn_jax.errors import EventShapeError
from mathdnn_jax.events import Shape, batch_shape_of
from mathdnn_jax.probability.checks import check_no_nan
from mathdnn_jax.probability.covariance import checked_covariance
from mathdnn_jax.probability.tangent_gap import tangent_gap


def gaussian_log_prob(x: ArrayLike, mean: ArrayLike, covariance: ArrayLike) -> jax.Array:
    """log N(x; μ, Σ) = −½ ‖L⁻¹ (x − μ)‖² − Σ_i log L_ii − (d/2) log 2π with L Lᵀ = Σ, in nats.

    `x` and `mean` have the shape (..., d), `covariance` has (..., d, d), and their leading batch axes are broadcast
    against one another. The arguments are those of `jax.scipy.stats.multivariate_normal.logpdf`, which computes it,
    except where x has infinite entries and no NaN: there log N = −∞, with derivatives of 0.

    Returns:
        The log-density, with the batch shape.

    Raises:
        EventShapeError: The event axes do not agree.
        CovarianceError: The covariance is concrete and not symmetric, not positive definite, or too ill-conditioned.
            `checked_covariance` describes the limits, and how a traced covariance leads to NaN instead.
        DomainError: `mean` is concrete and NaN. A NaN in `x` gives NaN.

    Source: course 001, P4, P6; course 002, P5 (the density).

    Example:
        >>> import jax.numpy as jnp, mathdnn_jax as mj
        >>> x = jnp.array([[0.0, 0.0], [1.0, 2.0]])
        >>> log_p = mj.probability.gaussian_log_prob(x, jnp.zeros(2), jnp.diag(jnp.array([1.0, 4.0])))
        >>> [round(float(value), 3) for value in log_p]
        [-2.531, -3.531]
    """
    x, mean, covariance = jnp.asarray(x), jnp.asarray(mean), checked_covariance(covariance)
    _check_events(covariance, x=x, mean=mean)
    check_no_nan(mean=mean)
    infinite = jnp.isinf(x)
    # The triangular solve would subtract infinities from each other.
    value = jnp.asarray(jax.scipy.stats.multivariate_normal.logpdf(jnp.where(infinite, 0, x), mean, covariance))
    return jnp.where(infinite.any(-1) & ~jnp.isnan(value), -jnp.inf, value)


def gaussian_sample(key: jax.Array, mean: ArrayLike, covariance: ArrayLike, shape: Shape = ()) -> jax.Array:
    """Draw x = μ + L ε with ε standard normal and L Lᵀ = Σ.

    The draw is a differentiable function of μ and Σ, so expectations can be differentiated through it. The arguments
    are those of `jax.random.multivariate_normal`, except that `shape` does not repeat the batch axes.

    Returns:
        Draws of shape `shape + batch + (d,)` in the dtype of the mean.

    Raises:
        EventShapeError, CovarianceError, DomainError: As in `gaussian_log_prob`.
    """
    mean, covariance = jnp.asarray(mean), checked_covariance(covariance)
    _check_events(covariance, mean=mean)
    check_no_nan(mean=mean)
    batch = jnp.broadcast_shapes(mean.shape[:-1], covariance.shape[:-2])
    noise = jax.random.normal(key, (*batch_shape_of(shape), *batch, mean.shape[-1]), mean.dtype)
    return mean + jnp.einsum("...ij,...j->...i", jnp.linalg.cholesky(covariance), noise)


def gaussian_kl(
    mean: ArrayLike, covariance: ArrayLike, other_mean: ArrayLike, other_covariance: ArrayLike
) -> jax.Array:
    """KL(N(μ₀, Σ₀) ‖ N(μ₁, Σ₁)) = ½ (tr(Σ₁⁻¹Σ₀) + ‖L₁⁻¹(μ₁ − μ₀)‖² − d + log(det Σ₁ / det Σ₀)), in nats, ≥ 0.

    It is computed as a sum of terms that cannot be negative, so rounding cannot make it negative: with the lower
    triangular matrix M = L₁⁻¹ L₀ it is ½ (Σ_{i>j} M_ij² + Σ_i (M_ii² − 1 − log M_ii²) + ‖L₁⁻¹(μ₁ − μ₀)‖²). Means have
    the shape (..., d) and covariances (..., d, d). KL is not symmetric: the expectation is under the first Gaussian.

    Returns:
        The divergence, with the batch shape.

    Raises:
        EventShapeError, CovarianceError, DomainError: As in `gaussian_log_prob`.

    Source: course 001, P6; course 002, P5.

    Example:
        >>> import jax.numpy as jnp, mathdnn_jax as mj
        >>> mean, covariance = jnp.zeros(2), jnp.eye(2)
        >>> float(mj.probability.gaussian_kl(mean, covariance, mean, covariance))
        0.0
        >>> round(float(mj.probability.gaussian_kl(mean, covariance, mean + 1, 4 * covariance)), 4)
        0.8863
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
                f"{name} must have {covariance.shape[-1]} as its last axis, to match the covariance of shape "
                f"{covariance.shape}; given the shape {vector.shape}"
            )
