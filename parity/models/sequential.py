"""How a sequential network in eval mode is run and watched, and what parity knows of it, from a list of its layers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mathdnn_jax.bijectors import Params
from mathdnn_jax.nets import Sequential
from parity.capture import flax_calls, torch_calls
from parity.models.family import Events, Family, Layers
from parity.models.layers import Line
from parity.models.model import Config, Model
from parity.models.sizes import Shapes, pytorch_shapes
from parity.rules.table import RuleTable


def init(network: Sequential, events: Events) -> Params:
    """Read the shapes of the network's variables off its layers."""
    tree: dict[str, dict[str, Any]] = {}
    shape = events.example
    for name, layer in network.layers:
        for collection, slots in layer.slots(shape).items():
            arrays = {key: jax.ShapeDtypeStruct(slot.shape, jnp.float32) for key, slot in slots.items()}
            tree.setdefault(collection, {})[name] = arrays
        shape = layer.output_shape(shape)
    return tree


def jax_layers(network: Sequential) -> Callable[[Params, jax.Array], Layers]:
    """Return a pure function (variables, x) → {layer: output}."""

    def layers(variables: Params, x: jax.Array) -> Layers:
        with flax_calls() as values:
            network.apply(variables, x)
        return values

    return layers


def torch_layers(twin: Any, submodules: Iterable[str], x: np.ndarray) -> dict[str, np.ndarray]:
    """Return the outputs of the twin's submodules; images have their channels last."""
    import torch

    with torch.no_grad(), torch_calls(twin, submodules) as values:
        twin(torch.from_numpy(np.ascontiguousarray(np.moveaxis(x, -1, 1))))
    return {name: np.moveaxis(value, 1, -1) for name, value in values.items()}


SEQUENTIAL = Family(init, jax_layers, torch_layers)


def network(
    lines: Callable[[Config], Sequence[Line]],
    sizes: Callable[[Shapes, Iterable[str]], Config],
    *,
    full_size: Config,
    build: Callable[..., Sequential],
    events: Callable[[Config], Events],
    twin: Callable[..., Any],
    family: Family = SEQUENTIAL,
    event_ndims: int = 3,
) -> Model:
    """Derive from a list of layers all that parity knows of a sequential network.

    Args:
        lines: hyperparameters → the layers for which PyTorch has a submodule, in the order of computation.
        sizes: (shapes of the source arrays by key, names to show in an error) → the hyperparameters.
        full_size: the hyperparameters used in the course.
        build: hyperparameters as keywords → the JAX network.
        events: hyperparameters → the events that the network takes.
        twin: hyperparameters as keywords → the PyTorch module.
        family: how the network is run and watched.
        event_ndims: the number of axes of an event.
    """

    def params_config(flat: Mapping[str, Any]) -> Config:
        # The names of the layers and the ranks of their arrays do not depend on their sizes.
        return sizes(pytorch_shapes((rule for line in lines(full_size) for rule in line.rules), flat), flat)

    return Model(
        family=family,
        event_ndims=event_ndims,
        infer_config=lambda state: sizes({name: array.shape for name, array in state.items()}, state),
        params_config=params_config,
        table=lambda config: RuleTable(tuple(rule for line in lines(config) for rule in line.rules)),
        build=build,
        events=events,
        twin=twin,
        submodules=lambda config: {line.name: line.module for line in lines(config)},
    )
