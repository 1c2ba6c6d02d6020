"""Actnorm: a scale and a shift for each channel, initialised from data."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np

from mathdnn_jax.bijectors.bijector import Bijector, Params, check_last_axis
from mathdnn_jax.bijectors.pairwise_sum import pairwise_sum
from mathdnn_jax.errors import ConfigurationError, DataSetError, NonFiniteError, ParameterStructureError

ROUNDING = 8
"""The greatest standard deviation that is taken for rounding errors, in units of ε times the greatest value."""


def actnorm(channels: int, event_ndims: int = 3, *, variance_floor: float | None = None) -> Bijector:
    """z = exp(s) ⊙ (x + b),  log|det ∂z/∂x| = N Σ_c s_c,  with inverse x = exp(−s) ⊙ z − b.

    s and b have one entry for each channel, that is, for each index of the last axis. N is the number of pixels, the
    product of the event's other axes, which may have any length (N = 1 for vectors, where event_ndims is 1). The
    parameters are {"log_scale": s (channels,), "bias": b (channels,)}, initialised with zeros.

    `init_from_data(params, x)` returns b = −mean and s = −½ log variance for each channel of a first batch, so that z
    has mean 0 and variance 1 in each channel. The variance is that of the batch itself (divided by the number of
    values). A channel that is constant in the batch but for rounding errors is centred and keeps s = 0: a scale
    computed from them would inflate the density. By default a channel counts as constant if its standard deviation is
    at most 8 ε times its greatest absolute value, with ε the spacing of the dtype's numbers at 1, so that the units of
    x do not matter.

    Args:
        channels: the length of the last axis.
        event_ndims: the number of axes of one event.
        variance_floor: the greatest variance of a channel that counts as constant, in squared units of x, instead of
            the limit above.

    Returns:
        The bijector.

    Raises:
        ConfigurationError: channels or event_ndims is below 1, or the floor is negative or not finite.
        EventShapeError: (when applied) x has too few axes, an empty one, or a wrong number of channels.
        ParameterStructureError: (when applied) a parameter has a wrong shape.
        DataSetError: (in `init_from_data`) the batch has fewer than two values for each channel.
        NonFiniteError: (in `init_from_data`, outside jit) the batch's mean or variance is NaN or infinite; under jit
            the parameters are then NaN.

    Source: Kingma, Dhariwal, "Glow: Generative flow with invertible 1×1 convolutions", 2018, section 3.1.
    """
    if channels < 1 or event_ndims < 1:
        raise ConfigurationError(
            f"actnorm needs at least one channel and one axis, given channels={channels}, event_ndims={event_ndims}"
        )
    if variance_floor is not None and not 0 <= variance_floor < math.inf:
        raise ConfigurationError(f"a variance floor is a finite number of at least 0, given {variance_floor}")

    def init(key: jax.Array) -> Params:
        del key
        return {"log_scale": jnp.zeros(channels, jnp.float32), "bias": jnp.zeros(channels, jnp.float32)}

    def read(params: Params, x: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        batch_shape = check_last_axis(x, channels, event_ndims, "actnorm")
        found = {name: jnp.shape(params[name]) for name in ("log_scale", "bias")}
        if set(found.values()) != {(channels,)}:
            raise ParameterStructureError(f"actnorm expects parameters of shape {(channels,)}, given {found}")
        pixels = math.prod(x.shape[x.ndim - event_ndims : -1])
        log_det = jnp.broadcast_to(pixels * pairwise_sum(params["log_scale"]), batch_shape)
        return params["log_scale"], params["bias"], log_det

    def forward(params: Params, x: jax.Array, context: jax.Array | None = None) -> tuple[jax.Array, jax.Array]:
        del context
        log_scale, bias, log_det = read(params, x)
        return jnp.exp(log_scale) * (x + bias), log_det

    def inverse(params: Params, z: jax.Array, context: jax.Array | None = None) -> tuple[jax.Array, jax.Array]:
        del context
        log_scale, bias, log_det = read(params, z)
        return jnp.exp(-log_scale) * z - bias, -log_det

    def init_from_data(params: Params, x: jax.Array, context: jax.Array | None = None) -> Params:
        del context
        log_scale, bias, _ = read(params, x)
        values = x.reshape(-1, channels)
        if len(values) < 2:
            raise DataSetError(
                f"actnorm's first batch needs at least two values for each channel, given an array of shape {x.shape}"
            )
        # Differences from one of the values are exactly 0 in a constant channel, however the sum is rounded.
        from_first = values - values[0]
        mean = from_first.mean(0)
        variance = jnp.square(from_first - mean).mean(0)
        if not isinstance(variance, jax.core.Tracer) and not np.isfinite(variance).all():
            raise NonFiniteError(
                f"actnorm's first batch has no finite mean and variance in channels "
                f"{np.flatnonzero(~np.isfinite(variance)).tolist()}; check the data for NaN or infinite values"
            )
        # With the comparisons this way round, a NaN stays a NaN.
        if variance_floor is None:
            constant = jnp.sqrt(variance) <= ROUNDING * jnp.finfo(values.dtype).eps * jnp.abs(values).max(0)
        else:
            constant = variance <= variance_floor
        first_scale = -jnp.log(jnp.where(constant, jnp.ones((), variance.dtype), variance)) / 2
        return {"log_scale": first_scale.astype(log_scale.dtype), "bias": -(values[0] + mean).astype(bias.dtype)}

    return Bijector(init, forward, inverse, event_ndims, init_from_data=init_from_data)
