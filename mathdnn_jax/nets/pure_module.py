"""Flax modules as pure functions: parameters and mutable state are passed in and returned, never kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from mathdnn_jax.errors import ConfigurationError

Variables = dict[str, Any]
"""Collections of a module, or the tree of one of them."""


class PureModule(NamedTuple):
    """A Flax module as pure functions.

    - `init(key, *input_shapes) -> (params, state)`, drawn for float32 inputs of these shapes. `state` holds the
      collections other than "params", such as the running statistics of batch norms, and is often empty;
    - `apply(params, state, *inputs, train=False) -> (output, state)`; only training mode changes the state;
    - `output_shape(*input_shapes)`: the shape of the output for inputs of these shapes, found without computing it.
    """

    init: Callable[..., tuple[Any, Variables]]
    apply: Callable[..., tuple[Any, Variables]]
    output_shape: Callable[..., tuple[int, ...]]


def pure_module(module: nn.Module, name: str, *, stateful: bool = False) -> PureModule:
    """Turn a Flax module into pure functions.

    Args:
        module: The module. If it keeps state, its `__call__` takes the keyword `train`.
        name: The name of the module in error messages.
        stateful: Whether the module may keep state besides its parameters.

    Returns:
        The pure functions. Unless `stateful`, `init` and `output_shape` raise ConfigurationError for a module that
        keeps state.
    """

    def with_output(key: jax.Array, *inputs: jax.Array) -> tuple[Any, Variables]:
        output, variables = module.init_with_output(key, *inputs)
        return output, _checked(variables, name, stateful)

    def init(key: jax.Array, *input_shapes: tuple[int, ...]) -> tuple[Any, Variables]:
        inputs = [jnp.zeros(shape, jnp.float32) for shape in input_shapes]
        variables = _checked(module.init(key, *inputs), name, stateful)
        return variables.pop("params", {}), variables

    def apply(params: Any, state: Variables, *inputs: jax.Array, train: bool = False) -> tuple[Any, Variables]:
        variables = {"params": params, **state}
        if not (train and state):
            return module.apply(variables, *inputs), state
        output, updated = module.apply(variables, *inputs, train=True, mutable=list(state))
        return output, dict(updated)

    def output_shape(*input_shapes: tuple[int, ...]) -> tuple[int, ...]:
        inputs = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in input_shapes]
        output, _ = jax.eval_shape(with_output, jax.random.key(0), *inputs)
        return tuple(output.shape)

    return PureModule(init, apply, output_shape)


def _checked(variables: Any, name: str, stateful: bool) -> Variables:
    collections = sorted(set(variables) - {"params"})
    if collections and not stateful:
        raise ConfigurationError(
            f"{name} must compute its output from its parameters and inputs alone, but the module keeps state in "
            f"{collections}; use layers without mutable state (only the networks of a GAN may contain batch norms)"
        )
    return dict(variables)
