"""Gaussians with a diagonal covariance, parameterised by the logarithms of their scales."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from mathdnn_jax.errors import EventShapeError
from mathdnn_jax.events import Shape, batch_shape_of
from mathdnn_jax.probability.checks import check_no_nan
from mathdnn_jax.probability.normal import LOG_TWO_PI
from mathdnn_jax.probability.tangent_gap import tangent_gap


def diagonal_gaussian_log_prob(x: ArrayLike, mean: ArrayLike, log_scale: ArrayLike) -> jax.Array:
    """log N(x; μ, diag σ²) = Σ_i −½ ((x_i − μ_i)/σ_i)² − log σ_i − ½ log 2π with σ = exp(log_scale), in nats.

    Any real `log_scale` describes a Gaussian; for variances v it is ½ log v. All three arguments have the shape
    (..., d), and their leading batch axes are broadcast against one another.

    Returns:
        The log-density, with the batch shape.

    Raises:
        EventShapeError: The last axes differ.
        DomainError: `mean` or `log_scale` is concrete and NaN. A NaN in `x` gives NaN.

    Source: course 000, Q6(c).
    """
    x, mean, log_scale = jnp.asarray(x), jnp.asarray(mean), jnp.asarray(log_scale)
    _check(x=x, mean=mean, log_scale=log_scale)
    check_no_nan(mean=mean, log_scale=log_scale)
    standardized = (x - mean) * jnp.exp(-log_scale)
    return (-0.5 * jnp.square(standardized) - log_scale - LOG_TWO_PI / 2).sum(-1)


def diagonal_gaussian_sample(key: jax.Array, mean: ArrayLike, log_scale: ArrayLike, shape: Shape = ()) -> jax.Array:
    """Draw x = μ + σ ε with ε standard normal and σ = exp(log_scale).

    The draw is a differentiable function of μ and log σ, so expectations can be differentiated through it.

    Returns:
        Draws of shape `shape + batch + (d,)` in the dtype of the mean.

    Raises:
        EventShapeError, DomainError: As in `diagonal_gaussian_log_prob`.
    """
    mean, log_scale = jnp.asarray(mean), jnp.asarray(log_scale)
    _check(mean=mean, log_scale=log_scale)
    check_no_nan(mean=mean, log_scale=log_scale)
    batch = jnp.broadcast_shapes(mean.shape, log_scale.shape)
    return mean + jnp.exp(log_scale) * jax.random.normal(key, (*batch_shape_of(shape), *batch), mean.dtype)


def diagonal_gaussian_kl(
    mean: ArrayLike, log_scale: ArrayLike, other_mean: ArrayLike, other_log_scale: ArrayLike
) -> jax.Array:
    """KL(N(μ₀, diag σ₀²) ‖ N(μ₁, diag σ₁²)) = ½ Σ_i (e^yᵢ − 1 − y_i + ((μ₀ − μ₁)/σ₁)_i²), y = log σ₀²/σ₁², in nats.

    No term is negative, so the sum is not negative either; it is 0 for equal Gaussians and equals the sum of the
    coordinates' KL. All four arguments have the shape (..., d). KL is not symmetric: the expectation is under the
    first Gaussian.

    Returns:
        The divergence, with the batch shape.

    Raises:
        EventShapeError: The last axes differ.
        DomainError: An argument is concrete and NaN.

    Source: course 001, P5(b), P6; course 002, P4, P5; course 000, Q6(c).
    """
    mean, log_scale = jnp.asarray(mean), jnp.asarray(log_scale)
    other_mean, other_log_scale = jnp.asarray(other_mean), jnp.asarray(other_log_scale)
    named = {"mean": mean, "log_scale": log_scale, "other_mean": other_mean, "other_log_scale": other_log_scale}
    _check(**named)
    check_no_nan(**named)
    shift = (mean - other_mean) * jnp.exp(-other_log_scale)
    return 0.5 * (tangent_gap(2 * (log_scale - other_log_scale)) + jnp.square(shift)).sum(-1)


def _check(**named: jax.Array) -> None:
    shapes = {name: x.shape for name, x in named.items()}
    if any(not shape for shape in shapes.values()) or len({shape[-1] for shape in shapes.values()}) > 1:
        raise EventShapeError(f"the last axes, which hold the event, must agree; given the shapes {shapes}")
