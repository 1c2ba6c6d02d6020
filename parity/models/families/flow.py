"""Flows: what each part computes, the density and the inverse, on the JAX side and on the PyTorch side."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import numpy as np

from mathdnn_jax.bijectors import Params
from mathdnn_jax.flows import Flow
from mathdnn_jax.probability import logistic_sample
from parity.models.families.family import Events, Family, Layers


def init(flow: Flow, events: Events) -> Params:
    """The shapes of the flow's parameters."""
    del events
    return jax.eval_shape(flow.init, jax.random.key(0))


def draw(flow: Flow, params: Params, events: Events, count: int, seed: int) -> tuple[np.ndarray, str]:
    """Half the events uniform on [0, 1), half from the flow itself."""
    uniform = np.random.default_rng(seed).random((count - count // 2, *events.example), dtype=np.float32)
    drawn = np.asarray(flow.sample(params, jax.random.key(seed), (count // 2,)))
    return np.concatenate([uniform, drawn]), f"half uniform, half drawn from the flow, seed {seed}"


def latents(x: np.ndarray, seed: int) -> tuple[np.ndarray]:
    """What the inverse is compared on."""
    return (np.array(logistic_sample(jax.random.fold_in(jax.random.key(seed), 1), x.shape)),)


def jax_layers(flow: Flow) -> Callable[[Params, jax.Array, jax.Array], Layers]:
    """A pure function (params, x, z) → {layer: value} of a flow whose bijector is a chain.

    Beside every part's output (`coupling_0`) and every Flax module's inside it (`coupling_0/dense_0`), it returns
    `log_det`, `log_prob` and, for the latents z, `inverse`. Those three come from the flow's own functions.
    """

    def layers(params: Params, x: jax.Array, z: jax.Array) -> Layers:
        values: Layers = {}
        event = x
        for name, part in flow.bijector.parts:
            with nn.intercept_methods(_recorder(name, values)):
                event, _ = part.forward(params[name], event)
            values[name] = event
        values["log_det"] = flow.forward(params, x)[1]
        values["log_prob"] = flow.log_prob(params, x)
        values["inverse"] = flow.inverse(params, z)[0]
        return values

    return layers


def _recorder(part: str, values: Layers) -> Callable[..., Any]:
    def record(call: Any, args: Any, kwargs: Any, context: nn.module.InterceptorContext) -> Any:
        result = call(*args, **kwargs)
        if context.module.path and context.method_name == "__call__":
            values["/".join((part, *context.module.path))] = result
        return result

    return record


def torch_layers(twin: Any, modules: Mapping[str, str], x: np.ndarray, z: np.ndarray) -> dict[str, np.ndarray]:
    """The same names and values from the PyTorch twin, by forward hooks on the submodules that `modules` names."""
    import torch

    values: dict[str, np.ndarray] = {}

    def recorder(layer: str) -> Callable[..., None]:
        def record(module: Any, args: Any, output: Any) -> None:
            del module, args
            event = output[0] if isinstance(output, tuple) else output
            values[layer] = event.numpy()

        return record

    with torch.inference_mode():
        handles = [twin.get_submodule(path).register_forward_hook(recorder(layer)) for layer, path in modules.items()]
        try:
            log_prob = twin.log_prob(torch.from_numpy(x))
        finally:
            for handle in handles:
                handle.remove()
        log_det = twin(torch.from_numpy(x))[1]
        inverse = twin.inverse(torch.from_numpy(z))[0]
    values["log_det"] = np.broadcast_to(log_det.numpy(), len(x))
    values["log_prob"] = log_prob.numpy()
    values["inverse"] = inverse.numpy()
    return values


FLOW = Family(event_ndims=1, init=init, draw=draw, beside=latents, jax_layers=jax_layers, torch_layers=torch_layers)
