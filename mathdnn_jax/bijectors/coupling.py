"""Coupling maps: part of the event stays, and conditions how the rest moves."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from mathdnn_jax.bijectors.bijector import Bijector, Params
from mathdnn_jax.bijectors.conditioner import Layout, conditioning
from mathdnn_jax.bijectors.index_set import put
from mathdnn_jax.bijectors.log_scale import bounded, check_bound


def additive_coupling(
    conditioner: nn.Module,
    mask: ArrayLike,
    *,
    layout: Layout = "kept",
    context_shape: tuple[int, ...] | None = None,
) -> Bijector:
    """z_Ω = x_Ω,  z_Ωᶜ = x_Ωᶜ + t(x_Ω),  log|det ∂z/∂x| = 0,  with inverse x_Ωᶜ = z_Ωᶜ − t(z_Ω).

    Args:
        conditioner: t, any Flax module without mutable state. It maps the kept entries to one shift for each moved
            entry: for a vector, or a mask along an image's channels, (…, kept) to (…, moved); for any other mask the
            entries are flattened in C order. A context comes as its second argument.
        mask: boolean, of the event's shape; true on Ω, the entries that stay.
        layout: "masked" shows the network the whole event with zeros in place of the moved entries, and takes a whole
            event from it, of which the moved entries are used: convolutions under a checkerboard.
        context_shape: of one event's context, where the map has one.

    The parameters are the conditioner's own "params" collection. x and z have one dtype, that of the parameters.

    Raises:
        ConfigurationError: Ω is not a proper non-empty subset; or (in `init` and when applied) the conditioner
            keeps state beside its parameters or returns another shape than that of x_Ωᶜ, or the context is missing.
        EventShapeError: (when applied) the trailing axes of x are not the mask's.

    Source: Dinh, Krueger, Bengio, "NICE: Non-linear Independent Components Estimation", 2014.
    """
    network = conditioning(conditioner, mask, 1, "additive_coupling", layout, context_shape)

    def shift(params: Params, viewed: jax.Array, context: jax.Array | None) -> jax.Array:
        (t,) = network.values(params, viewed, context)
        return put(t, network.moved)

    def forward(params: Params, x: jax.Array, context: jax.Array | None = None) -> tuple[jax.Array, jax.Array]:
        batch_shape, viewed = network.view(x)
        z = viewed + shift(params, viewed, context)
        return z.reshape(x.shape), jnp.zeros(batch_shape, z.dtype)

    def inverse(params: Params, z: jax.Array, context: jax.Array | None = None) -> tuple[jax.Array, jax.Array]:
        batch_shape, viewed = network.view(z)
        x = viewed - shift(params, viewed, context)
        return x.reshape(z.shape), jnp.zeros(batch_shape, x.dtype)

    return Bijector(network.init, forward, inverse, jnp.ndim(mask))


def affine_coupling(
    conditioner: nn.Module,
    mask: ArrayLike,
    *,
    log_scale_bound: float | None = None,
    layout: Layout = "kept",
    context_shape: tuple[int, ...] | None = None,
) -> Bijector:
    """z_Ω = x_Ω,  z_Ωᶜ = exp(s(x_Ω)) ⊙ x_Ωᶜ + t(x_Ω),  log|det ∂z/∂x| = Σ_i s_i(x_Ω).

    The inverse is x_Ωᶜ = exp(−s(z_Ω)) ⊙ (z_Ωᶜ − t(z_Ω)). The Jacobian is block triangular whichever entries Ω has:
    the rows of Ω are those of the identity.

    Args:
        conditioner: (s, t), any Flax module without mutable state. It maps the kept entries, as in
            `additive_coupling`, to two numbers for each moved entry: an array whose last axis is twice as long, all
            log-scales first and then all shifts, or the pair of arrays (log-scales, shifts).
        mask: boolean, of the event's shape; true on Ω, the entries that stay; any proper non-empty subset.
        log_scale_bound: a bound c > 0 on |s|, kept by s = c tanh(s̃ / c) with s̃ what the network returns; None
            takes s = s̃. With a bound the map can neither overflow nor collapse while it is trained.
        layout: "masked" for networks on whole events, as in `additive_coupling`.
        context_shape: of one event's context, where the map has one.

    The parameters are the conditioner's own "params" collection. x and z have one dtype, that of the parameters.

    Raises:
        ConfigurationError: Ω is not a proper non-empty subset, the bound is not positive; or (in `init` and when
            applied) the conditioner keeps state beside its parameters or returns another shape, or the context is
            missing.
        EventShapeError: (when applied) the trailing axes of x are not the mask's.

    Source: Dinh, Sohl-Dickstein, Bengio, "Density estimation using Real NVP", 2016, section 3.2; seed 002 P3.
    """
    check_bound(log_scale_bound)
    network = conditioning(conditioner, mask, 2, "affine_coupling", layout, context_shape)

    def log_scale_and_shift(
        params: Params, viewed: jax.Array, context: jax.Array | None
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        s, t = network.values(params, viewed, context)
        s = bounded(s, log_scale_bound)
        return put(s, network.moved), put(t, network.moved), s.sum(network.axes)

    def forward(params: Params, x: jax.Array, context: jax.Array | None = None) -> tuple[jax.Array, jax.Array]:
        _, viewed = network.view(x)
        s, t, log_det = log_scale_and_shift(params, viewed, context)
        return (viewed * jnp.exp(s) + t).reshape(x.shape), log_det

    def inverse(params: Params, z: jax.Array, context: jax.Array | None = None) -> tuple[jax.Array, jax.Array]:
        _, viewed = network.view(z)
        s, t, log_det = log_scale_and_shift(params, viewed, context)
        return ((viewed - t) * jnp.exp(-s)).reshape(z.shape), -log_det

    return Bijector(network.init, forward, inverse, jnp.ndim(mask))
