"""The autoencoder: its widths, its rule table and its layers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from mathdnn_jax.generative import Autoencoder
from mathdnn_jax.generative import autoencoder as jax_autoencoder
from parity.models.autoencoding import AUTOENCODING
from parity.models.family import fixed_size
from parity.models.layers import linear_rules
from parity.models.model import Config, Model
from parity.models.sizes import Shapes, wrong_model
from parity.rules.table import RuleTable

if TYPE_CHECKING:
    from parity.reference import Autoencoder as Twin


def infer_config(state: Mapping[str, np.ndarray]) -> Config:
    """Read the widths off a PyTorch state dict's encoder."""
    return _config({name: array.shape for name, array in state.items()}, r"encoder\.fc(\d+)\.weight", 1)


def params_config(flat: Mapping[str, Any]) -> Config:
    """Read the widths off flat JAX parameters."""
    return _config({name: np.shape(array) for name, array in flat.items()}, r"encoder/dense_(\d+)/kernel", 0)


def _config(shapes: Shapes, pattern: str, inputs: int) -> Config:
    found = [(int(m[1]), shapes[m[0]]) for m in (re.fullmatch(pattern, name) for name in shapes) if m]
    kernels = [shape for _, shape in sorted(found) if len(shape) == 2]
    if not kernels:
        raise wrong_model("this is not an autoencoder: expected arrays such as encoder.fc1.weight", shapes)
    return {"widths": [kernels[0][inputs], *(shape[1 - inputs] for shape in kernels)]}


def table(config: Config) -> RuleTable:
    """Return the rules: kernels are transposed, biases are unchanged."""
    return RuleTable(
        tuple(rule for layer, module in submodules(config).items() for rule in linear_rules(module, layer))
    )


def submodules(config: Config) -> dict[str, str]:
    """Return {JAX layer: PyTorch submodule}, in the order of computation."""
    depth = len(config["widths"]) - 1
    return {f"{side}/dense_{k}": f"{side}.fc{k + 1}" for side in ("encoder", "decoder") for k in range(depth)}


def build(widths: list[int]) -> Autoencoder:
    """Build the JAX model."""
    return jax_autoencoder(widths)


def twin(widths: list[int]) -> Twin:
    """Build the PyTorch module."""
    from parity.reference import Autoencoder

    return Autoencoder(widths)


AUTOENCODER = Model(
    family=AUTOENCODING,
    event_ndims=1,
    infer_config=infer_config,
    params_config=params_config,
    table=table,
    build=build,
    events=lambda config: fixed_size(config["widths"][0]),
    twin=twin,
    submodules=submodules,
)
