"""Coupling maps: part of the event stays as it is and determines how the rest is transformed."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from mathdnn_jax.bijectors.bijector import Bijector, Params
from mathdnn_jax.bijectors.coupling_network import ConditionerInput, coupling_network
from mathdnn_jax.bijectors.index_set import put
from mathdnn_jax.bijectors.log_scale import bounded, check_bound


def additive_coupling(
    conditioner: nn.Module,
    mask: ArrayLike,
    *,
    layout: ConditionerInput = "kept",
    context_shape: tuple[int, ...] | None = None,
) -> Bijector:
    """z_Ω = x_Ω,  z_Ωᶜ = x_Ωᶜ + t(x_Ω),  log|det ∂z/∂x| = 0,  with inverse x_Ωᶜ = z_Ωᶜ − t(z_Ω).

    Args:
        conditioner: t, any Flax module without mutable state. It maps the kept entries to one shift for each moved
            entry: (…, kept) to (…, moved) for a vector or for a mask along an image's channels; for any other mask
            the entries are flattened in C order. If there is a context, it is the second argument.
        mask: boolean, of the event's shape; true on Ω, the entries that stay as they are.
        layout: with "masked" the network receives the whole event with zeros in place of the moved entries and
            returns a whole event, of which the moved entries are used. This lets convolutions work with a
            checkerboard.
        context_shape: the shape of one event's context, if the map has one.

    Returns:
        The bijector. Its parameters are the conditioner's own "params" collection, whose dtype x and z share.

    Raises:
        ConfigurationError: Ω is not a proper non-empty subset; or (in `init` and when applied) the conditioner
            keeps state besides its parameters or does not return the shape of x_Ωᶜ, or the context is missing.
        EventShapeError: (when applied) the trailing axes of x differ from the mask's shape.

    Example:
        >>> import jax, jax.numpy as jnp, mathdnn_jax as mj
        >>> mask = jnp.array([True, False, True, False])
        >>> coupling = mj.bijectors.additive_coupling(mj.nets.MLP((8, 2)), mask)
        >>> params = coupling.init(jax.random.key(0))
        >>> z, log_det = coupling.forward(params, jnp.ones((3, 4)))
        >>> z.shape, bool((z[:, ::2] == 1).all()), log_det.tolist()
        ((3, 4), True, [0.0, 0.0, 0.0])

    Source: Dinh, Krueger, Bengio, "NICE: Non-linear Independent Components Estimation", 2014.
    """
    network = coupling_network(conditioner, mask, 1, "additive_coupling", layout, context_shape)
    event_ndims = jnp.ndim(mask)

    def shift(params: Params, viewed: jax.Array, context: jax.Array | None) -> jax.Array:
        (t,) = network.values(params, viewed, context)
        return put(t, network.moved)

    def forward(params: Params, x: jax.Array, context: jax.Array | None = None) -> tuple[jax.Array, jax.Array]:
        shape, viewed = network.view(x, context)
        z = viewed + shift(params, viewed, context)
        return z.reshape(shape), jnp.zeros(shape[: len(shape) - event_ndims], z.dtype)

    def inverse(params: Params, z: jax.Array, context: jax.Array | None = None) -> tuple[jax.Array, jax.Array]:
        shape, viewed = network.view(z, context)
        x = viewed - shift(params, viewed, context)
        return x.reshape(shape), jnp.zeros(shape[: len(shape) - event_ndims], x.dtype)

    return Bijector(network.init, forward, inverse, event_ndims)


def affine_coupling(
    conditioner: nn.Module,
    mask: ArrayLike,
    *,
    log_scale_bound: float | None = None,
    layout: ConditionerInput = "kept",
    context_shape: tuple[int, ...] | None = None,
) -> Bijector:
    """z_Ω = x_Ω,  z_Ωᶜ = exp(s(x_Ω)) ⊙ x_Ωᶜ + t(x_Ω),  log|det ∂z/∂x| = Σ_i s_i(x_Ω).

    The inverse is x_Ωᶜ = exp(−s(z_Ω)) ⊙ (z_Ωᶜ − t(z_Ω)). The Jacobian is block triangular for every choice of Ω,
    since its rows for Ω are rows of the identity.

    Args:
        conditioner: (s, t), any Flax module without mutable state. It maps the kept entries, as in
            `additive_coupling`, to two numbers for each moved entry: either an array whose last axis is twice as
            long, with all log-scales before all shifts, or the pair of arrays (log-scales, shifts).
        mask: boolean, of the event's shape; true on Ω, the entries that stay as they are; any proper non-empty subset.
        log_scale_bound: a bound c > 0 on |s|, enforced by s = c tanh(s̃ / c) where s̃ is the output of the network;
            None means s = s̃. With a bound the map can neither overflow nor collapse during training.
        layout: "masked" for networks on whole events, as in `additive_coupling`.
        context_shape: the shape of one event's context, if the map has one.

    Returns:
        The bijector. Its parameters are the conditioner's own "params" collection, whose dtype x and z share.

    Raises:
        ConfigurationError: Ω is not a proper non-empty subset, or the bound is not positive; or (in `init` and when
            applied) the conditioner keeps state besides its parameters or returns a wrong shape, or the context is
            missing.
        EventShapeError: (when applied) the trailing axes of x differ from the mask's shape.

    Example:
        >>> import jax, jax.numpy as jnp, mathdnn_jax as mj
        >>> mask = jnp.array([True, True, False])
        >>> coupling = mj.bijectors.affine_coupling(mj.nets.MLP((8, 2)), mask, log_scale_bound=2.0)
        >>> params = coupling.init(jax.random.key(0))
        >>> z, log_det = coupling.forward(params, jnp.ones((5, 3)))
        >>> x, _ = coupling.inverse(params, z)
        >>> z.shape, log_det.shape, bool(jnp.allclose(x, 1, atol=1e-5))
        ((5, 3), (5,), True)

    Source: Dinh, Sohl-Dickstein, Bengio, "Density estimation using Real NVP", 2016, section 3.2; course 002, P3.
    """
    check_bound(log_scale_bound)
    network = coupling_network(conditioner, mask, 2, "affine_coupling", layout, context_shape)

    def log_scale_and_shift(
        params: Params, viewed: jax.Array, context: jax.Array | None
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        s, t = network.values(params, viewed, context)
        s = bounded(s, log_scale_bound)
        return put(s, network.moved), put(t, network.moved), s.sum(network.axes)

    def forward(params: Params, x: jax.Array, context: jax.Array | None = None) -> tuple[jax.Array, jax.Array]:
        shape, viewed = network.view(x, context)
        s, t, log_det = log_scale_and_shift(params, viewed, context)
        return (viewed * jnp.exp(s) + t).reshape(shape), log_det

    def inverse(params: Params, z: jax.Array, context: jax.Array | None = None) -> tuple[jax.Array, jax.Array]:
        shape, viewed = network.view(z, context)
        s, t, log_det = log_scale_and_shift(params, viewed, context)
        return ((viewed - t) * jnp.exp(-s)).reshape(shape), -log_det

    return Bijector(network.init, forward, inverse, jnp.ndim(mask))
