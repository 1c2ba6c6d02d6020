"""A Flax module as the pure functions that a conditional map needs, with its context where there is one."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from mathdnn_jax.bijectors.bijector import Params
from mathdnn_jax.errors import ConfigurationError


def init_network(
    network: nn.Module, key: jax.Array, input_shape: tuple[int, ...], context_shape: tuple[int, ...] | None
) -> Params:
    """Return the network's own parameters, drawn for inputs (and a context) of these shapes.

    Raises:
        ConfigurationError: it keeps state beside its parameters.
    """
    inputs = [jnp.zeros(input_shape, jnp.float32)]
    if context_shape is not None:
        inputs.append(jnp.zeros(context_shape, jnp.float32))
    variables = network.init(key, *inputs)
    collections = set(variables) - {"params"}
    if collections:
        raise ConfigurationError(
            f"a coupling's conditioner is a function of its parameters and its input alone, given a module with "
            f"variables in {sorted(collections)}"
        )
    return variables.get("params", {})


def apply_network(
    network: nn.Module,
    params: Params,
    seen: jax.Array,
    batch_shape: tuple[int, ...],
    context: jax.Array | None,
    context_shape: tuple[int, ...] | None,
    map_name: str,
) -> Any:
    """Return what the network makes of `seen`, and of the context where it was built with one.

    Raises:
        ConfigurationError: the context is missing, or its shape does not fit.
    """
    inputs = [seen]
    if context_shape is not None:
        inputs.append(_context(context, batch_shape, context_shape, map_name))
    return network.apply({"params": params}, *inputs)


def _context(
    context: jax.Array | None, batch_shape: tuple[int, ...], context_shape: tuple[int, ...], map_name: str
) -> jax.Array:
    if context is None:
        raise ConfigurationError(f"this {map_name} was built with a context of shape {context_shape}, given none")
    batch_ndims = context.ndim - len(context_shape)
    if batch_ndims < 0 or context.shape[batch_ndims:] != context_shape:
        raise ConfigurationError(
            f"this {map_name} was built with a context of shape {context_shape}, given an array of shape "
            f"{context.shape}; its trailing axes must be the context, all axes before them are batch axes"
        )
    try:
        return jnp.broadcast_to(context, (*batch_shape, *context_shape))
    except ValueError as error:
        raise ConfigurationError(
            f"a context's leading axes are those of the events, {batch_shape}, or broadcast to them; "
            f"given {context.shape[:batch_ndims]}"
        ) from error
