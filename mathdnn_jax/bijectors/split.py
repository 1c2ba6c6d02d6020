"""Multi-scale factor-out: some channels leave the flow, under a prior conditioned on the channels that go on."""

from __future__ import annotations

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from mathdnn_jax.bijectors.bijector import Bijector, Params
from mathdnn_jax.bijectors.chain import chain, invert
from mathdnn_jax.bijectors.coupling import affine_coupling
from mathdnn_jax.errors import ConfigurationError
from mathdnn_jax.events import check_event


def split(
    rest: Bijector,
    event_shape: tuple[int, ...],
    prior: nn.Module | None = None,
    *,
    kept: int | None = None,
    log_scale_bound: float | None = None,
    context_shape: tuple[int, ...] | None = None,
) -> Bijector:
    """z = (z_out, rest(h)) as one vector,  z_out = exp(−s(h)) ⊙ (x_out − μ(h)),  x = (h, x_out) along the last axis.

    log|det ∂z/∂x| = −Σ_i s_i(h) + log|det ∂ rest(h)/∂h|. The channels x_out leave the flow, those of h go on through
    `rest`. Under a standard normal prior on z_out, x_out given h is normal with mean μ(h) and variance exp(2 s(h)): a
    learnt prior, which enters the density and the samples alike.

    Acts on events of `event_shape`. z is one vector, z_out followed by rest(h), each flattened in C order, so that a
    density needs only one prior for all scales, and splits can be nested (the `rest` of one split ends with the next).
    The map is a chain of the parts "prior" (if there is a prior) and "rest", which also name its parameters.

    Args:
        rest: the map applied to h, on events of `event_shape` with `kept` entries on the last axis.
        event_shape: the shape of x: (H, W, C), or (dim,).
        prior: (s, μ), any Flax module without mutable state, like the conditioner of `affine_coupling`: from h
            (…, kept) to (…, 2 (C − kept)), with all log-scales before all means. None means s = 0, μ = 0.
        kept: the number of channels that go on, counted from the first; by default half of them.
        log_scale_bound: a bound on |s|, as in `affine_coupling`.
        context_shape: the shape of one event's context, which is passed to both prior (as its second argument) and
            rest.

    Returns:
        The bijector.

    Raises:
        ConfigurationError: the number of channels is odd and `kept` is not given, `kept` leaves one side empty, or
            `rest` needs a context and context_shape is not given; or (in `init` and when applied) the prior returns a
            wrong shape.
        EventShapeError: `rest` does not act on events of h's shape; or (when applied) the trailing axes of x are not
            `event_shape`, or those of z are not one vector with as many entries.

    Source: Dinh, Sohl-Dickstein, Bengio, "Density estimation using Real NVP", 2016, section 3.6; for the learnt prior:
    Kingma, Dhariwal, "Glow: Generative flow with invertible 1×1 convolutions", 2018.
    """
    event_shape = tuple(event_shape)
    if not event_shape or min(event_shape) < 1:
        raise ConfigurationError(f"split needs an event shape whose last axis it can divide, given {event_shape}")
    channels = event_shape[-1]
    if kept is None:
        if channels % 2:
            raise ConfigurationError(
                f"split keeps half of the channels by default, given an odd number, {channels}; set kept="
            )
        kept = channels // 2
    if not 0 < kept < channels:
        raise ConfigurationError(f"split must keep some channels but not all, given kept={kept} of {channels}")
    parts = {}
    if prior is not None:
        mask = np.broadcast_to(np.arange(channels) < kept, event_shape)
        # Sampling is the affine map exp(s) z_out + μ; this is its inverse.
        coupling = affine_coupling(prior, mask, log_scale_bound=log_scale_bound, context_shape=context_shape)
        parts["prior"] = invert(coupling)
    parts["rest"] = _factor_out(rest, event_shape, kept, context_shape)
    return chain(**parts)


def _factor_out(
    rest: Bijector, event_shape: tuple[int, ...], kept: int, context_shape: tuple[int, ...] | None
) -> Bijector:
    """(h, x_out) → (x_out, rest(h)) as one vector."""
    kept_shape, out_shape = (*event_shape[:-1], kept), (*event_shape[:-1], event_shape[-1] - kept)
    out_size = math.prod(out_shape)

    def one_rest() -> jax.Array:
        context = None if context_shape is None else jnp.zeros(context_shape, jnp.float32)
        return rest.forward(rest.init(jax.random.key(0)), jnp.zeros(kept_shape, jnp.float32), context)[0]

    rest_shape = jax.eval_shape(one_rest).shape

    def halves(x: jax.Array) -> tuple[jax.Array, jax.Array]:
        check_event(x, event_shape, "split")
        return x[..., :kept], x[..., kept:]

    def forward(params: Params, x: jax.Array, context: jax.Array | None = None) -> tuple[jax.Array, jax.Array]:
        h, out = halves(x)
        z, log_det = rest.forward(params, h, context)
        # A context of more batch axes than x gives them to z.
        batch_shape = z.shape[: z.ndim - len(rest_shape)]
        out = jnp.broadcast_to(out, (*batch_shape, *out_shape))
        vectors = out.reshape(*batch_shape, out_size), z.reshape(*batch_shape, math.prod(rest_shape))
        return jnp.concatenate(vectors, -1), log_det

    def inverse(params: Params, z: jax.Array, context: jax.Array | None = None) -> tuple[jax.Array, jax.Array]:
        batch_shape = check_event(z, (math.prod(event_shape),), "split")
        out = z[..., :out_size].reshape(*batch_shape, *out_shape)
        h, log_det = rest.inverse(params, z[..., out_size:].reshape(*batch_shape, *rest_shape), context)
        out = jnp.broadcast_to(out, (*h.shape[:-1], out_shape[-1]))
        return jnp.concatenate([h, out], -1), log_det

    rest_init_from_data = rest.init_from_data

    def init_from_data(params: Params, x: jax.Array, context: jax.Array | None = None) -> Params:
        return params if rest_init_from_data is None else rest_init_from_data(params, halves(x)[0], context)

    return Bijector(
        rest.init,
        forward,
        inverse,
        len(event_shape),
        latent_event_ndims=1,
        init_from_data=None if rest_init_from_data is None else init_from_data,
    )
