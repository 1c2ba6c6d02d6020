"""Autoencoders, variational ones too: what their networks compute, on the JAX side and on the PyTorch side."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import numpy as np

from mathdnn_jax.bijectors import Params
from mathdnn_jax.generative import VAE, Autoencoder
from parity.models.families.family import Events, Family, Layers


def init(model: VAE | Autoencoder, events: Events) -> Params:
    """The shapes of the model's parameters."""
    del events
    return jax.eval_shape(model.init, jax.random.key(0))


def draw(model: Any, params: Params, events: Events, count: int, seed: int) -> tuple[np.ndarray, str]:
    """Images of independent entries, uniform on [0, 1)."""
    del model, params
    x = np.random.default_rng(seed).random((count, *events.example), dtype=np.float32)
    return x, f"uniform, seed {seed}"


def nothing(x: np.ndarray, seed: int) -> tuple[()]:
    """Everything is computed from the images alone."""
    del x, seed
    return ()


def jax_layers(model: VAE | Autoencoder) -> Callable[[Params, jax.Array], Layers]:
    """A pure function (params, x) → {layer: value}: each layer of the encoder, of the decoder, the reconstruction.

    A variational autoencoder's decoder is watched at the mean of q(z | x).
    """

    def layers(params: Params, x: jax.Array) -> Layers:
        values: Layers = {}
        with nn.intercept_methods(_recorder("encoder", values)):
            code = model.encode(params, x)
        with nn.intercept_methods(_recorder("decoder", values)):
            reconstruction = model.decode(params, code if isinstance(code, jax.Array) else code[0])
        return {**values, "reconstruction": reconstruction}

    return layers


def _recorder(side: str, values: Layers) -> Callable[..., Any]:
    def record(call: Any, args: Any, kwargs: Any, context: nn.module.InterceptorContext) -> Any:
        result = call(*args, **kwargs)
        if context.module.path and context.method_name == "__call__":
            values["/".join((side, *context.module.path))] = result
        return result

    return record


def torch_layers(twin: Any, modules: Mapping[str, str], x: np.ndarray) -> dict[str, np.ndarray]:
    """The same from the PyTorch twin, by forward hooks on the submodules that `modules` names."""
    import torch

    values: dict[str, np.ndarray] = {}

    def recorder(layer: str) -> Callable[..., None]:
        def record(module: Any, args: Any, output: Any) -> None:
            del module, args
            values[layer] = output.numpy()

        return record

    with torch.inference_mode():
        handles = [twin.get_submodule(path).register_forward_hook(recorder(layer)) for layer, path in modules.items()]
        try:
            values["reconstruction"] = twin(torch.from_numpy(x)).numpy()
        finally:
            for handle in handles:
                handle.remove()
    return values


GENERATIVE = Family(
    event_ndims=1, init=init, draw=draw, beside=nothing, jax_layers=jax_layers, torch_layers=torch_layers
)
