"""Conditioners: Flax modules as pure functions of what a map lets them see and, optionally, of a context."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from mathdnn_jax.bijectors.bijector import Params
from mathdnn_jax.errors import ConfigurationError
from mathdnn_jax.nets.pure_module import pure_module


class Conditioner(NamedTuple):
    """The network of a conditional map as pure functions.

    - `init(key) -> params`, the module's own "params" collection;
    - `batch(batch_shape, context) -> batch_shape`, that of events broadcast against the context's;
    - `apply(params, seen, batch_shape, context) -> output`, whatever the module returns, for events that have this
      common batch shape.
    """

    init: Callable[[jax.Array], Params]
    batch: Callable[[tuple[int, ...], jax.Array | None], tuple[int, ...]]
    apply: Callable[[Params, jax.Array, tuple[int, ...], jax.Array | None], Any]


def pure_conditioner(
    module: nn.Module, input_shape: tuple[int, ...], context_shape: tuple[int, ...] | None, map_name: str
) -> Conditioner:
    """Turn the module into pure functions; it receives the context, if there is one, as its second argument.

    Returns:
        The conditioner. `init` raises ConfigurationError if the module keeps state besides its parameters, and `batch`
        if the context is missing or has the wrong shape.
    """
    network = pure_module(module, f"the conditioner of {map_name}")
    shapes = [input_shape] if context_shape is None else [input_shape, context_shape]

    def init(key: jax.Array) -> Params:
        return network.init(key, *shapes)[0]

    def batch(batch_shape: tuple[int, ...], context: jax.Array | None) -> tuple[int, ...]:
        if context_shape is None:
            return batch_shape
        return _common_batch(batch_shape, context, context_shape, map_name)

    def apply(params: Params, seen: jax.Array, batch_shape: tuple[int, ...], context: jax.Array | None) -> Any:
        inputs = [seen]
        if context_shape is not None:
            inputs.append(jnp.broadcast_to(jnp.asarray(context), (*batch_shape, *context_shape)))
        return network.apply(params, {}, *inputs)[0]

    return Conditioner(init, batch, apply)


def _common_batch(
    batch_shape: tuple[int, ...], context: jax.Array | None, context_shape: tuple[int, ...], map_name: str
) -> tuple[int, ...]:
    if context is None:
        raise ConfigurationError(f"this {map_name} was built with a context of shape {context_shape}, given none")
    batch_ndims = context.ndim - len(context_shape)
    if batch_ndims < 0 or context.shape[batch_ndims:] != context_shape:
        raise ConfigurationError(
            f"this {map_name} was built with a context of shape {context_shape}, given an array of shape "
            f"{context.shape}; its trailing axes must be the context, all axes before them are batch axes"
        )
    try:
        return jnp.broadcast_shapes(batch_shape, context.shape[:batch_ndims])
    except ValueError as error:
        raise ConfigurationError(
            f"the leading axes of a context must be those of the events, {batch_shape}, or broadcast against them; "
            f"given {context.shape[:batch_ndims]}"
        ) from error
