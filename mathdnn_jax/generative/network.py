"""A Flax module as a pair of pure functions between events of fixed shapes, its state passed in and out."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from mathdnn_jax.bijectors import Params
from mathdnn_jax.bijectors.bijector import check_event
from mathdnn_jax.errors import ConfigurationError
from mathdnn_jax.nets import Sequential

State = dict[str, Any]
"""A module's collections beside its parameters, such as the running statistics of batch norms; often empty."""


class Network(NamedTuple):
    """A module on events of one shape.

    - `init(key) -> (params, state)`;
    - `apply(params, state, x, train=False) -> (y, state)`, any batch axes; only train mode changes the state.
    """

    init: Callable[[jax.Array], tuple[Params, State]]
    apply: Callable[..., tuple[jax.Array, State]]


def network(
    module: nn.Module, input_shape: tuple[int, ...], output_shape: tuple[int, ...], name: str, *, stateful: bool = False
) -> Network:
    """Make pure functions of `module`, whose output has as many entries as `output_shape` and is reshaped to it.

    A `Sequential` that begins with a convolution is given a vector (k,) as the image (1, 1, k).

    Raises:
        ConfigurationError: the module returns another number of entries, or has state where `stateful` is False.
    """
    seen_shape = input_shape
    if isinstance(module, Sequential) and module.event_ndims is not None and module.event_ndims > len(input_shape):
        seen_shape = (*(1,) * (module.event_ndims - len(input_shape)), *input_shape)
    _check(module, seen_shape, output_shape, name, stateful)

    def init(key: jax.Array) -> tuple[Params, State]:
        variables = dict(module.init(key, jnp.zeros((1, *seen_shape), jnp.float32)))
        return variables.pop("params", {}), variables

    def apply(params: Params, state: State, x: jax.Array, train: bool = False) -> tuple[jax.Array, State]:
        batch_shape = check_event(x, input_shape, name)
        events = x.reshape(math.prod(batch_shape), *seen_shape)
        variables = {"params": params, **state}
        if train and state:
            y, updated = module.apply(variables, events, train=True, mutable=list(state))
            state = dict(updated)
        else:
            y = module.apply(variables, events)
        return jnp.asarray(y).reshape(*batch_shape, *output_shape), state

    return Network(init, apply)


def _check(
    module: nn.Module, seen_shape: tuple[int, ...], output_shape: tuple[int, ...], name: str, stateful: bool
) -> None:
    example = jax.ShapeDtypeStruct((1, *seen_shape), jnp.float32)
    y, variables = jax.eval_shape(module.init_with_output, jax.random.key(0), example)
    if math.prod(y.shape) != math.prod(output_shape):
        raise ConfigurationError(
            f"{name} must return {math.prod(output_shape)} numbers for each event, shape {output_shape}; "
            f"given one that returns shape {y.shape[1:]}"
        )
    state = sorted(set(variables) - {"params"})
    if state and not stateful:
        raise ConfigurationError(
            f"{name} is a function of its parameters and its input alone, given a module with variables in {state}; "
            f"batch norms belong into a GAN's networks, where there is a place for their statistics"
        )
