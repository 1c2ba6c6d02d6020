"""What parity knows of the autoencoder: its widths, its rule table and its layers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from mathdnn_jax.generative import Autoencoder
from mathdnn_jax.generative import autoencoder as jax_autoencoder
from parity.models.families import GENERATIVE, Events
from parity.models.layers import wrong_model
from parity.models.model import Config, Model
from parity.rules.checks import SAME, TRANSPOSE, Rule

if TYPE_CHECKING:
    from parity.reference import Autoencoder as Twin


def infer_config(state: Mapping[str, np.ndarray]) -> Config:
    """Read the widths off a PyTorch state dict's encoder."""
    return _config({name: array.shape for name, array in state.items()}, r"encoder\.fc(\d+)\.weight", 1)


def params_config(flat: Mapping[str, Any]) -> Config:
    """Read the widths off flat JAX parameters."""
    return _config({name: np.shape(array) for name, array in flat.items()}, r"encoder/dense_(\d+)/kernel", 0)


def _config(shapes: Mapping[str, tuple[int, ...]], pattern: str, inputs: int) -> Config:
    found = [(int(m[1]), shapes[m[0]]) for m in (re.fullmatch(pattern, name) for name in shapes) if m]
    kernels = [shape for _, shape in sorted(found) if len(shape) == 2]
    if not kernels:
        raise wrong_model("this is not an autoencoder: expected arrays such as encoder.fc1.weight", shapes)
    return {"widths": [kernels[0][inputs], *(shape[1 - inputs] for shape in kernels)]}


def rules(config: Config) -> tuple[Rule, ...]:
    """Dense kernels are transposed, biases stay as they are."""
    table = []
    for layer, module in torch_layers(config).items():
        table += [Rule(f"{module}.weight", f"{layer}/kernel", TRANSPOSE), Rule(f"{module}.bias", f"{layer}/bias", SAME)]
    return tuple(table)


def torch_layers(config: Config) -> dict[str, str]:
    """Return {JAX layer: PyTorch submodule}, in the order in which they are computed."""
    depth = len(config["widths"]) - 1
    return {f"{side}/dense_{k}": f"{side}.fc{k + 1}" for side in ("encoder", "decoder") for k in range(depth)}


def build(widths: list[int]) -> Autoencoder:
    """The JAX model."""
    return jax_autoencoder(widths)


def twin(widths: list[int]) -> Twin:
    """The PyTorch module."""
    from parity.reference import Autoencoder

    return Autoencoder(widths)


AUTOENCODER = Model(
    family=GENERATIVE,
    infer_config=infer_config,
    params_config=params_config,
    rules=rules,
    build=build,
    events=lambda config: Events((config["widths"][0],), (config["widths"][0],)),
    twin=twin,
    torch_layers=torch_layers,
)
