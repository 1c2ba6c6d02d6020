"""A scale and a shift of each channel, first set from data."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np

from mathdnn_jax.bijectors.bijector import Bijector, Params, check_last_axis
from mathdnn_jax.bijectors.pairwise_sum import pairwise_sum
from mathdnn_jax.errors import ConfigurationError, DataSetError, NonFiniteError, ParameterStructureError


def actnorm(channels: int, event_ndims: int = 3, *, variance_floor: float = 1e-8) -> Bijector:
    """Z = exp(s) ⊙ (x + b),  log|det ∂z/∂x| = N Σ_c s_c,  with inverse x = exp(−s) ⊙ z − b.

    s and b have one entry for each channel, an index of the last axis; N is the number of pixels, the product of an
    event's other axes, which may have any length (1 where event_ndims is 1, a vector). The parameters are
    {"log_scale": s (channels,), "bias": b (channels,)}, zeros at initialisation.

    `init_from_data(params, x)` returns b = −mean and s = −½ log variance over all of a first batch but its channels,
    the variance being that of the batch itself (divided by the number of values), so that its z has mean 0 and
    variance 1 in each channel. A channel whose variance is not above `variance_floor` (one that is constant in the
    batch) is centred and keeps s = 0: a scale made of rounding would credit the density for it.

    Args:
        channels: the length of the last axis.
        event_ndims: how many axes make one event.
        variance_floor: in squared units of x.

    Raises:
        ConfigurationError: channels or event_ndims below 1, or a floor that is negative or not finite.
        EventShapeError: (when applied) x has fewer axes, an empty one, or another number of channels.
        ParameterStructureError: (when applied) a parameter has another shape.
        DataSetError: (in `init_from_data`) the batch has fewer than two values for each channel.
        NonFiniteError: (in `init_from_data`, outside jit) the batch's mean or variance is NaN or infinite; under jit
            the parameters are then NaN.

    Source: Kingma, Dhariwal, "Glow: Generative flow with invertible 1×1 convolutions", 2018, section 3.1.
    """
    if channels < 1 or event_ndims < 1:
        raise ConfigurationError(
            f"actnorm needs at least one channel and one axis, given channels={channels}, event_ndims={event_ndims}"
        )
    if not 0 <= variance_floor < math.inf:
        raise ConfigurationError(f"a variance floor is a finite number from 0 on, given {variance_floor}")

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
        mean = values.mean(0)
        variance = jnp.square(values - mean).mean(0)
        if not isinstance(variance, jax.core.Tracer) and not np.isfinite(variance).all():
            raise NonFiniteError(
                f"actnorm's first batch has no finite mean and variance in channels "
                f"{np.flatnonzero(~np.isfinite(variance)).tolist()}; look for NaN or infinite values"
            )
        # Comparing this way round, a NaN keeps its place.
        constant = variance <= variance_floor
        first_scale = -jnp.log(jnp.where(constant, jnp.ones((), variance.dtype), variance)) / 2
        return {"log_scale": first_scale.astype(log_scale.dtype), "bias": (-mean).astype(bias.dtype)}

    return Bijector(init, forward, inverse, event_ndims, init_from_data=init_from_data)
