"""Sequential networks in eval mode: every layer's output, on the JAX side and on the PyTorch side."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mathdnn_jax.bijectors import Params
from mathdnn_jax.nets import Sequential
from parity.models.families.family import Events, Family, Layers


def init(network: Sequential, events: Events) -> Params:
    """The shapes of the network's variables, read off its layers."""
    tree: dict[str, dict[str, Any]] = {}
    shape = events.example
    for name, layer in network.layers:
        for collection, slots in layer.slots(shape).items():
            arrays = {key: jax.ShapeDtypeStruct(slot.shape, jnp.float32) for key, slot in slots.items()}
            tree.setdefault(collection, {})[name] = arrays
        shape = layer.output_shape(shape)
    return tree


def draw(network: Sequential, variables: Params, events: Events, count: int, seed: int) -> tuple[np.ndarray, str]:
    """Images of independent entries, uniform on [0, 1)."""
    del network, variables
    x = np.random.default_rng(seed).random((count, *events.example), dtype=np.float32)
    return x, f"uniform, seed {seed}"


def nothing(x: np.ndarray, seed: int) -> tuple[()]:
    """A network is computed from its events alone."""
    del x, seed
    return ()


def jax_layers(network: Sequential) -> Callable[[Params, jax.Array], Layers]:
    """A pure function (variables, x) → {layer: output}, in the layers' order."""

    def layers(variables: Params, x: jax.Array) -> Layers:
        _, captured = network.apply(variables, x, capture_intermediates=True, mutable=["intermediates"])
        outputs: Any = captured["intermediates"]
        return {name: outputs[name]["__call__"][0] for name, _ in network.layers}

    return layers


def torch_layers(twin: Any, modules: Mapping[str, str], x: np.ndarray) -> dict[str, np.ndarray]:
    """The same from the PyTorch twin by forward hooks on the submodules that `modules` names; images channels last."""
    import torch

    values: dict[str, np.ndarray] = {}

    def recorder(layer: str) -> Callable[..., None]:
        def record(module: Any, args: Any, output: Any) -> None:
            del module, args
            values[layer] = np.moveaxis(output.numpy(), 1, -1)

        return record

    with torch.inference_mode():
        handles = [twin.get_submodule(path).register_forward_hook(recorder(layer)) for layer, path in modules.items()]
        try:
            twin(torch.from_numpy(np.ascontiguousarray(np.moveaxis(x, -1, 1))))
        finally:
            for handle in handles:
                handle.remove()
    return values


NETWORK = Family(event_ndims=3, init=init, draw=draw, beside=nothing, jax_layers=jax_layers, torch_layers=torch_layers)
