"""Flax modules as pure functions between events of fixed shapes, for any batch axes."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from mathdnn_jax.bijectors import Params
from mathdnn_jax.errors import ConfigurationError
from mathdnn_jax.events import check_event
from mathdnn_jax.nets import Sequential
from mathdnn_jax.nets.pure_module import Variables, pure_module


class Network(NamedTuple):
    """A module on events of one shape.

    - `init(key) -> (params, state)`, where the state is that of a `PureModule`;
    - `apply(params, state, x, train=False) -> (y, state)`, for any batch axes; only training mode changes the state.
    """

    init: Callable[[jax.Array], tuple[Params, Variables]]
    apply: Callable[..., tuple[jax.Array, Variables]]


def network(
    module: nn.Module, input_shape: tuple[int, ...], output_shape: tuple[int, ...], name: str, *, stateful: bool = False
) -> Network:
    """Turn `module` into pure functions; its output must have as many entries as `output_shape`, its new shape.

    A `Sequential` that begins with a convolution receives a vector (k,) as an image (1, 1, k).

    Raises:
        ConfigurationError: the module returns a wrong number of entries, or it keeps state and `stateful` is False.
    """
    seen_shape = input_shape
    if isinstance(module, Sequential) and module.event_ndims is not None and module.event_ndims > len(input_shape):
        seen_shape = (*(1,) * (module.event_ndims - len(input_shape)), *input_shape)
    pure = pure_module(module, name, stateful=stateful)
    returned = pure.output_shape((1, *seen_shape))
    if math.prod(returned) != math.prod(output_shape):
        raise ConfigurationError(
            f"{name} must return {math.prod(output_shape)} numbers for each event, shape {output_shape}; "
            f"given a module that returns shape {returned[1:]}"
        )

    def init(key: jax.Array) -> tuple[Params, Variables]:
        return pure.init(key, (1, *seen_shape))

    def apply(params: Params, state: Variables, x: jax.Array, train: bool = False) -> tuple[jax.Array, Variables]:
        batch_shape = check_event(x, input_shape, name)
        events = x.reshape(math.prod(batch_shape), *seen_shape)
        y, state = pure.apply(params, state, events, train=train)
        return jnp.asarray(y).reshape(*batch_shape, *output_shape), state

    return Network(init, apply)
