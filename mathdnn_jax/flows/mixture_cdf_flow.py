"""The one-dimensional flow made of Gaussian distribution functions."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax.scipy.special import erf

from mathdnn_jax.bijectors import Params, mixture_cdf
from mathdnn_jax.bijectors.half_precision import in_float32
from mathdnn_jax.bijectors.mixture_cdf import half_range
from mathdnn_jax.flows.flow import Flow, flow, samplers
from mathdnn_jax.probability import normal


def mixture_cdf_flow(components: int = 5, normalised: bool = False) -> Flow:
    """log p(x) = log φ(z(x)) + log dz/dx in nats, where z is the map `mixture_cdf` and φ the standard normal density.

    Events are scalars: x may have any shape, and log p has the same shape. The parameters are
    {"mean", "log_scale", "weight_logits"}, each (components,).

    As in the course, the range of z is only (−W/2, W/2), W = Σ_k exp(weight_logits_k), and p integrates to
    2Φ(W/2) − 1 (`mixture_cdf_mass`) rather than 1. Samples are f⁻¹(z) with z from the prior truncated to that range, so
    their density is exactly p divided by that mass; log p is not divided. With `normalised`, the map is onto the
    reals, p integrates to 1, and samples come from the prior itself.

    Raises:
        ConfigurationError: components < 1.

    Example:
        >>> import jax, mathdnn_jax as mj
        >>> flow = mj.mixture_cdf_flow(components=3, normalised=True)
        >>> params = flow.init(jax.random.key(0))
        >>> x = flow.sample(params, jax.random.key(1), (4,))
        >>> x.shape, flow.log_prob(params, x).shape
        ((4,), (4,))

    Source: course 002, P2; erratum E4.
    """
    prior = normal(())
    made = flow(mixture_cdf(components, normalised), prior, name="mixture_cdf_flow")
    if normalised:
        return _in_float32(made)

    def draw(params: Params, key: jax.Array, shape: tuple[int, ...], temperature: float) -> jax.Array:
        half = half_range(params)
        # The outermost floats are left out, since the sum of rounded terms may not reach them.
        reach = half * (1 - 16 * jnp.finfo(half.dtype).eps) / jnp.asarray(temperature, half.dtype)
        return jax.random.truncated_normal(key, -reach, reach, shape, half.dtype)

    sample, sample_and_log_prob = samplers(made.bijector, prior, draw)
    return _in_float32(made._replace(sample=sample, sample_and_log_prob=sample_and_log_prob))


def _in_float32(made: Flow) -> Flow:
    """Let latents keep float32 between the prior and the map, too."""
    return made._replace(
        log_prob=in_float32(made.log_prob),
        sample=in_float32(made.sample),
        sample_and_log_prob=in_float32(made.sample_and_log_prob),
    )


def mixture_cdf_mass(params: Params) -> jax.Array:
    """2Φ(W/2) − 1 = erf(W / √8), W = Σ_k exp(weight_logits_k): the integral of the density as in the course.

    Divide the density by it (subtract its logarithm from log p) to get the density of the flow's samples.

    Returns:
        The mass, a scalar.

    Source: erratum E4 (course 002, P2).
    """
    return erf(half_range(params) / jnp.sqrt(jnp.asarray(2.0, params["weight_logits"].dtype)))
