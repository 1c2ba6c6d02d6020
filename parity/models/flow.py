"""How a flow is run and watched: the output of each part, the density and the inverse."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import jax
import numpy as np

from mathdnn_jax.bijectors import Params
from mathdnn_jax.flows import Flow
from mathdnn_jax.probability import logistic_sample
from parity.capture import flax_calls, torch_calls
from parity.models.family import Events, Family, Layers


def init(flow: Flow, events: Events) -> Params:
    """Return the shapes of the flow's parameters."""
    del events
    return jax.eval_shape(flow.init, jax.random.key(0))


def draw(flow: Flow, params: Params, events: Events, count: int, seed: int) -> tuple[np.ndarray, str]:
    """Draw half of the events uniformly on [0, 1) and half from the flow itself."""
    uniform = np.random.default_rng(seed).random((count - count // 2, *events.example), dtype=np.float32)
    drawn = np.asarray(flow.sample(params, jax.random.key(seed), (count // 2,)))
    return np.concatenate([uniform, drawn]), f"half uniform, half drawn from the flow, seed {seed}"


def latents(x: np.ndarray, seed: int) -> tuple[np.ndarray]:
    """Draw the latents on which the inverse is compared."""
    return (np.array(logistic_sample(jax.random.fold_in(jax.random.key(seed), 1), x.shape)),)


def jax_layers(flow: Flow) -> Callable[[Params, jax.Array, jax.Array], Layers]:
    """Return a pure function (params, x, z) → {layer: output}, for a flow whose bijector is a chain.

    The layers are the parts (`coupling_0`) and the Flax modules inside them (`coupling_0/dense_0`). `log_det`,
    `log_prob` and, at the latents z, `inverse` are added; these three come from the flow's own functions.
    """

    def layers(params: Params, x: jax.Array, z: jax.Array) -> Layers:
        values: Layers = {}
        event = x
        for name, part in flow.bijector.parts:
            with flax_calls(scope=name) as inside:
                event, _ = part.forward(params[name], event)
            values |= inside | {name: event}
        values["log_det"] = flow.forward(params, x)[1]
        values["log_prob"] = flow.log_prob(params, x)
        values["inverse"] = flow.inverse(params, z)[0]
        return values

    return layers


def torch_layers(twin: Any, submodules: Iterable[str], x: np.ndarray, z: np.ndarray) -> dict[str, np.ndarray]:
    """Return the outputs of the twin's submodules, `log_det`, `log_prob` and `inverse`."""
    import torch

    with torch.no_grad():
        with torch_calls(twin, submodules) as outputs:
            log_prob = twin.log_prob(torch.from_numpy(x))
        log_det = twin(torch.from_numpy(x))[1]
        inverse = twin.inverse(torch.from_numpy(z))[0]
    # What a part returns beside the event is its share of the log-determinant, which is compared below.
    values = {name: output for name, output in outputs.items() if not name.endswith("[1]")}
    values["log_det"] = np.broadcast_to(log_det.numpy(), len(x))
    values["log_prob"] = log_prob.numpy()
    values["inverse"] = inverse.numpy()
    return values


FLOW = Family(init, jax_layers, torch_layers, draw, latents)
