"""A map of the real line: a mixture of Gaussian distribution functions."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.scipy.special import ndtr

from mathdnn_jax.bijectors.bijector import Bijector, Params
from mathdnn_jax.bijectors.half_precision import in_float32
from mathdnn_jax.bijectors.monotone import Function, monotone_inverse
from mathdnn_jax.errors import ConfigurationError, OutOfRangeError, ParameterStructureError
from mathdnn_jax.probability.normal_tail import HALF_LOG_TWO_PI, log_cdf_and_log_hazard, quantile_of_log

NAMES = ("mean", "log_scale", "weight_logits")


def mixture_cdf(components: int = 5, normalised: bool = False) -> Bijector:
    """z = Σ_k w_k (Φ((x − μ_k)/σ_k) − ½), or its normalised variant z = Φ⁻¹(Σ_k π_k Φ((x − μ_k)/σ_k)).

    Acts on scalars, so that every axis is a batch axis; σ = exp(log_scale), w = exp(weight_logits) and
    π = softmax(weight_logits). The log-determinant is log dz/dx:

    - as in the course, log Σ_k (w_k/σ_k) φ((x − μ_k)/σ_k). The range of z is only (−W/2, W/2), with W = Σ_k w_k, so
      that the density under a standard normal prior integrates to 2Φ(W/2) − 1 rather than 1, and a z outside that
      range has no x. In floating-point arithmetic z reaches ±W/2 where every Φ rounds to 0 or 1, and x cannot be
      recovered there;
    - normalised, log Σ_k (r_k/σ_k) h((x − μ_k)/σ_k) − log h(z) with h = φ/Φ and r_k ∝ π_k Φ((x − μ_k)/σ_k), which
      avoids differences of large numbers. Above the median the same is computed from the other side. The map is onto
      the reals, and both tails are accurate to rounding: with one component z = (x − μ)/σ, however far out.

    The inverse is numerical (`monotone_inverse`), starting from an exact bracket: x lies between the least and the
    greatest of the components' own quantiles of the same level.

    The parameters are {"mean", "log_scale", "weight_logits"}, each (components,). As in the course, they are
    initialised with standard normal means, scales 1 and logits 1. In half precision, arguments and results are rounded
    and everything between them is computed in float32.

    Returns:
        The bijector.

    Raises:
        ConfigurationError: components < 1.
        ParameterStructureError: (when applied) the parameters have wrong names or shapes.
        OutOfRangeError: (inverse, as in the course) some z are NaN or outside (−W/2, W/2). Under jit, vmap or grad,
            where values are unknown, their x and log-determinant are NaN instead.

    Source: course 002, P2; erratum E4.
    """
    if components < 1:
        raise ConfigurationError(f"mixture_cdf needs at least one component, given components={components}")
    value_and_log_slope = _normalised if normalised else _as_in_the_course
    invert = _invert_normalised if normalised else _invert_as_in_the_course

    def init(key: jax.Array) -> Params:
        return {
            "mean": jax.random.normal(key, (components,), jnp.float32),
            "log_scale": jnp.zeros(components, jnp.float32),
            "weight_logits": jnp.ones(components, jnp.float32),
        }

    def forward(params: Params, x: jax.Array, context: jax.Array | None = None) -> tuple[jax.Array, jax.Array]:
        del context
        _check(params, components)
        return value_and_log_slope(params, x)

    def inverse(params: Params, z: jax.Array, context: jax.Array | None = None) -> tuple[jax.Array, jax.Array]:
        del context
        _check(params, components)
        x = invert(params, z)
        return x, -value_and_log_slope(params, x)[1]

    return Bijector(init, in_float32(forward), in_float32(inverse), event_ndims=0)


def half_range(params: Params) -> jax.Array:
    """W/2 = ½ Σ_k exp(weight_logits_k), a scalar: the bound on |z| for the map as in the course."""
    return jnp.exp(params["weight_logits"]).sum() / 2


def _as_in_the_course(params: Params, x: jax.Array) -> tuple[jax.Array, jax.Array]:
    a = _standardised(params, x)
    z = (jnp.exp(params["weight_logits"]) / 2 * lax.erf(a * math.sqrt(0.5))).sum(-1)
    log_terms = params["weight_logits"] - params["log_scale"] - a * a / 2 - HALF_LOG_TWO_PI
    return z, jax.nn.logsumexp(log_terms, axis=-1)


def _normalised(params: Params, x: jax.Array) -> tuple[jax.Array, jax.Array]:
    a = _standardised(params, x)
    log_weights = jax.nn.log_softmax(params["weight_logits"])
    below = (jnp.exp(log_weights) * ndtr(a)).sum(-1) <= 0.5
    # Of F(x) and 1 − F(x) take the one that is at most ½, since the other may be near 1 and have lost its digits.
    side = lax.stop_gradient(jnp.where(below, 1, -1)).astype(x.dtype)
    log_cdfs, log_hazards = log_cdf_and_log_hazard(side[..., None] * a)
    log_terms = log_weights + log_cdfs
    level = quantile_of_log(jax.nn.logsumexp(log_terms, axis=-1))
    log_density = jax.nn.log_softmax(log_terms, axis=-1) + log_hazards - params["log_scale"]
    return side * level, jax.nn.logsumexp(log_density, axis=-1) - log_cdf_and_log_hazard(level)[1]


def _invert_as_in_the_course(params: Params, z: jax.Array) -> jax.Array:
    half = half_range(params)
    _check_range(z, half)
    level = -jnp.sign(z) * quantile_of_log(jnp.log(0.5 - 0.5 * jnp.abs(z / half)))
    return _solve(_value_as_in_the_course, params, z, params, level)


def _invert_normalised(params: Params, z: jax.Array) -> jax.Array:
    side = lax.stop_gradient(jnp.where(z <= 0, 1, -1)).astype(z.dtype)
    return _solve(_tail, (params, side), side * log_cdf_and_log_hazard(side * z)[0], params, z)


# The functions to be inverted are not closures, so that `monotone_inverse` compiles each of them once.


def _value_as_in_the_course(params: Params, x: jax.Array) -> jax.Array:
    return _as_in_the_course(params, x)[0]


def _tail(params: tuple[Params, jax.Array], x: jax.Array) -> jax.Array:
    """± log of the probability beyond x on its side of the median."""
    mixture, side = params
    log_weights = jax.nn.log_softmax(mixture["weight_logits"])
    log_cdfs, _ = log_cdf_and_log_hazard(side[..., None] * _standardised(mixture, x))
    return side * jax.nn.logsumexp(log_weights + log_cdfs, axis=-1)


def _solve(function: Function, params: Params, value: jax.Array, mixture: Params, level: jax.Array) -> jax.Array:
    """Solve function(params, x) = value for x between the least and the greatest of the components' quantiles."""
    quantiles = mixture["mean"] + jnp.exp(mixture["log_scale"]) * level[..., None]
    lower, upper = quantiles.min(-1), quantiles.max(-1)
    return monotone_inverse(function, params, value, lower=lower, upper=upper)[0]


def _standardised(params: Params, x: jax.Array) -> jax.Array:
    a: jax.Array = (x[..., None] - params["mean"]) * jnp.exp(-params["log_scale"])
    return a


def _check(params: Params, components: int) -> None:
    given = {name: jnp.shape(value) for name, value in params.items()}
    if given != dict.fromkeys(NAMES, (components,)):
        raise ParameterStructureError(
            f"mixture_cdf with {components} components expects {', '.join(NAMES)} of shape {(components,)}, "
            f"given {given}"
        )


def _check_range(z: jax.Array, half: jax.Array) -> None:
    if isinstance(z, jax.core.Tracer) or isinstance(half, jax.core.Tracer):
        return
    outside = int(np.sum(~(np.abs(z) < np.asarray(half))))
    if outside:
        raise OutOfRangeError(
            f"mixture_cdf as in the course only reaches z in (−W/2, W/2) = (−{float(half):.6g}, {float(half):.6g}), "
            f"given {outside} of {z.size} values outside; draw z from the prior truncated to that range, or use "
            f"mixture_cdf(normalised=True), which is onto the real line"
        )
