"""Coupling maps: part of the event stays, and conditions how the rest moves."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from mathdnn_jax.bijectors.bijector import Bijector, Params, check_event
from mathdnn_jax.bijectors.index_set import index_sets, pick, put
from mathdnn_jax.errors import ConfigurationError


def additive_coupling(conditioner: nn.Module, mask: ArrayLike) -> Bijector:
    """z_Ω = x_Ω,  z_Ωᶜ = x_Ωᶜ + t(x_Ω),  log|det ∂z/∂x| = 0,  with inverse x_Ωᶜ = z_Ωᶜ − t(z_Ω).

    Args:
        conditioner: t, any Flax module without mutable state that maps (..., |Ω|) to (..., |Ωᶜ|); the entries
            of a mask with several axes come to it flattened in C order.
        mask: boolean, of the event's shape; true on Ω, the entries that stay.

    The parameters are the conditioner's own "params" collection. x and z have one dtype, that of the parameters.

    Raises:
        ConfigurationError: Ω is not a proper non-empty subset; or (in `init` and when applied) the conditioner
            keeps state beside its parameters or returns another shape than that of x_Ωᶜ.
        EventShapeError: (when applied) the trailing axes of x are not the mask's.

    Source: Dinh, Krueger, Bengio, "NICE: Non-linear Independent Components Estimation", 2014.
    """
    kept, moved = index_sets(mask)
    event_shape = np.shape(mask)

    def init(key: jax.Array) -> Params:
        variables = conditioner.init(key, jnp.zeros(len(kept.indices), jnp.float32))
        collections = set(variables) - {"params"}
        if collections:
            raise ConfigurationError(
                f"a coupling's conditioner is a function of its parameters and its input alone, given a module with "
                f"variables in {sorted(collections)}"
            )
        return variables.get("params", {})

    def shift(params: Params, x: jax.Array) -> jax.Array:
        t = conditioner.apply({"params": params}, pick(x, kept))
        expected = (*x.shape[:-1], len(moved.indices))
        if not isinstance(t, jax.Array) or t.shape != expected:
            raise ConfigurationError(
                f"a coupling's conditioner must map {len(kept.indices)} kept entries to an array of shape {expected}, "
                f"one shift for each moved entry; it returned {getattr(t, 'shape', type(t).__name__)}"
            )
        return put(t, moved)

    def flatten(x: jax.Array) -> tuple[jax.Array, tuple[int, ...]]:
        batch_shape = check_event(x, event_shape, "additive_coupling")
        return x.reshape(*batch_shape, kept.size), batch_shape

    def forward(params: Params, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        flat, batch_shape = flatten(x)
        z = flat + shift(params, flat)
        return z.reshape(x.shape), jnp.zeros(batch_shape, z.dtype)

    def inverse(params: Params, z: jax.Array) -> tuple[jax.Array, jax.Array]:
        flat, batch_shape = flatten(z)
        x = flat - shift(params, flat)
        return x.reshape(z.shape), jnp.zeros(batch_shape, x.dtype)

    return Bijector(init, forward, inverse, len(event_shape))
