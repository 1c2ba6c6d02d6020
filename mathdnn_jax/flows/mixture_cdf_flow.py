"""The one-dimensional flow made of Gaussian distribution functions."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax.scipy.special import erf

from mathdnn_jax.bijectors import Params, mixture_cdf
from mathdnn_jax.bijectors.mixture_cdf import half_range
from mathdnn_jax.flows.flow import Flow, flow
from mathdnn_jax.probability import normal


def mixture_cdf_flow(components: int = 5, normalised: bool = False) -> Flow:
    """Log p(x) = log φ(z(x)) + log dz/dx with z the map `mixture_cdf` and a standard normal prior, in nats.

    Events are scalars: x of any shape, log p of the same shape. Parameters are {"mean", "log_scale", "weight_logits"},
    each (components,).

    As in the seed, z fills (−W/2, W/2) alone, W = Σ_k exp(weight_logits_k), and p integrates to 2Φ(W/2) − 1
    (`mixture_cdf_mass`), not to 1. Its samples are f⁻¹(z) with z from the prior truncated to that range, so that their
    density is p divided by that mass, exactly; log p is not divided. Normalised, the map is onto the reals, p
    integrates to 1, and samples come from the prior itself.

    Raises:
        ConfigurationError: components < 1.

    Source: seed 002 P2; erratum E4.
    """
    prior = normal(())
    made = flow(mixture_cdf(components, normalised), prior)
    if normalised:
        return made

    def draw(
        params: Params, key: jax.Array, shape: tuple[int, ...], context: jax.Array | None, temperature: float
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        half = half_range(params)
        # The outermost floats are left out, at which the sum of rounded terms may not arrive.
        reach = half * (1 - 16 * jnp.finfo(half.dtype).eps) / jnp.asarray(temperature, half.dtype)
        z = jax.random.truncated_normal(key, -reach, reach, tuple(shape), half.dtype)
        z = jnp.asarray(temperature, z.dtype) * z
        return z, *made.inverse(params, z, context)

    def sample(
        params: Params,
        key: jax.Array,
        shape: tuple[int, ...] = (),
        context: jax.Array | None = None,
        temperature: float = 1.0,
    ) -> jax.Array:
        return draw(params, key, shape, context, temperature)[1]

    def sample_and_log_prob(
        params: Params,
        key: jax.Array,
        shape: tuple[int, ...] = (),
        context: jax.Array | None = None,
        temperature: float = 1.0,
    ) -> tuple[jax.Array, jax.Array]:
        z, x, log_det = draw(params, key, shape, context, temperature)
        return x, prior.log_prob(z) - log_det

    return made._replace(sample=sample, sample_and_log_prob=sample_and_log_prob)


def mixture_cdf_mass(params: Params) -> jax.Array:
    """2Φ(W/2) − 1 = erf(W / √8), W = Σ_k exp(weight_logits_k): what the density as in the seed integrates to; a scalar.

    Divide by it (subtract its logarithm from log p) for the density of the flow's samples.

    Source: erratum E4 of seed 002 P2.
    """
    return erf(half_range(params) / jnp.sqrt(jnp.asarray(2.0, params["weight_logits"].dtype)))
