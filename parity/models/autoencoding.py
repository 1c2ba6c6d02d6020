"""How an autoencoder, variational or not, is run and watched: the layers of both networks, and the reconstruction."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import jax
import numpy as np

from mathdnn_jax.bijectors import Params
from mathdnn_jax.generative import VAE, Autoencoder
from parity.capture import flax_calls, torch_calls
from parity.models.family import Events, Family, Layers


def init(model: VAE | Autoencoder, events: Events) -> Params:
    """Return the shapes of the model's parameters."""
    del events
    return jax.eval_shape(model.init, jax.random.key(0))


def jax_layers(model: VAE | Autoencoder) -> Callable[[Params, jax.Array], Layers]:
    """Return a pure function (params, x) → {layer: output}: `encoder/…`, `decoder/…` and `reconstruction`.

    The decoder of a variational autoencoder is watched at the mean of q(z | x).
    """

    def layers(params: Params, x: jax.Array) -> Layers:
        with flax_calls(scope="encoder") as encoder:
            code = model.encode(params, x)
        with flax_calls(scope="decoder") as decoder:
            reconstruction = model.decode(params, code if isinstance(code, jax.Array) else code[0])
        return {**encoder, **decoder, "reconstruction": reconstruction}

    return layers


def torch_layers(twin: Any, submodules: Iterable[str], x: np.ndarray) -> dict[str, np.ndarray]:
    """Return the outputs of the twin's submodules, and its `reconstruction`."""
    import torch

    with torch.no_grad(), torch_calls(twin, submodules) as values:
        reconstruction = twin(torch.from_numpy(x)).numpy()
    return {**values, "reconstruction": reconstruction}


AUTOENCODING = Family(init, jax_layers, torch_layers)
