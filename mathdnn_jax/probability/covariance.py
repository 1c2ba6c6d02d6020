"""Validation of covariance matrices."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from numpy.typing import NDArray

from mathdnn_jax.errors import CovarianceError, EventShapeError
from mathdnn_jax.probability.checks import concrete_values

LARGEST_RELATIVE_ERROR = 0.1


def checked_covariance(covariance: ArrayLike) -> jax.Array:
    """Check that an array of shape (..., d, d) is a covariance, well conditioned enough to be factored.

    The values must be finite, symmetric up to rounding (4 d ε √(Σ_ii Σ_jj), which any computed A Aᵀ satisfies) and
    positive definite, and κ ε ≤ 0.1, where κ is the condition number (1-norm) of the correlation matrix and ε is the
    machine epsilon of the dtype. The log-density and the KL of a Gaussian have relative errors of about κ ε, so
    float64 allows κ up to 4.5e14 and float32 up to 8e5. The scales of the coordinates do not matter: variances of 1 and
    1e-30 side by side are well conditioned, because the Cholesky factorisation is invariant to scaling.

    Values cannot be checked while JAX traces. A matrix that is not symmetric then becomes NaN in every entry, one that
    is not positive definite has a NaN factor, and everything computed from either is NaN.

    Returns:
        The covariance as an array of the same shape.

    Raises:
        EventShapeError: The last two axes do not form a square.
        CovarianceError: The values are concrete and violate one of the conditions above.
    """
    covariance = jnp.asarray(covariance)
    if covariance.ndim < 2 or covariance.shape[-1] != covariance.shape[-2] or covariance.shape[-1] == 0:
        raise EventShapeError(f"a covariance must have the shape (..., d, d), given {covariance.shape}")
    epsilon = float(jnp.finfo(covariance.dtype).eps)
    values = concrete_values(covariance)
    if values is not None:
        _check_values(values, epsilon)
    return jnp.where(_symmetric(covariance, epsilon)[..., None, None], covariance, jnp.nan)


def _symmetric(covariance: jax.Array, epsilon: float) -> jax.Array:
    scale = jnp.sqrt(jnp.abs(jnp.diagonal(covariance, axis1=-2, axis2=-1)))
    tolerance = 4 * covariance.shape[-1] * epsilon * scale[..., :, None] * scale[..., None, :]
    return (jnp.abs(covariance - covariance.mT) <= tolerance).all((-2, -1))


def _check_values(values: NDArray[np.floating], epsilon: float) -> None:
    if not np.isfinite(values).all():
        raise CovarianceError("the covariance has NaN or infinite entries")
    variances = np.diagonal(values, axis1=-2, axis2=-1)
    if variances.min() <= 0:
        raise CovarianceError(f"the covariance is not positive definite: a variance is {variances.min():.6g}")
    scale = np.sqrt(variances)
    correlation = values / scale[..., :, None] / scale[..., None, :]
    asymmetry = np.abs(correlation - correlation.mT).max()
    if asymmetry > 4 * values.shape[-1] * epsilon:
        raise CovarianceError(
            f"the covariance is not symmetric: two opposite correlations differ by {asymmetry:.3g}; "
            "if this is rounding, pass (C + C.T) / 2"
        )
    least = np.linalg.eigvalsh(correlation).min()
    if least <= 0:
        raise CovarianceError(
            f"the covariance is not positive definite: the least eigenvalue of its correlation matrix is {least:.3g}"
        )
    condition = np.linalg.cond(correlation, 1).max()
    if condition * epsilon > LARGEST_RELATIVE_ERROR:
        raise CovarianceError(
            f"the covariance is too ill-conditioned for its dtype: the condition number of its correlation matrix is "
            f"{condition:.3g}, and at most {LARGEST_RELATIVE_ERROR / epsilon:.3g} is sensible; "
            "use float64, or add a little to the diagonal"
        )
