"""The variational autoencoder with one hidden layer on either side and a Bernoulli likelihood."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from mathdnn_jax.generative import VAE, dense_decoder, dense_trunk
from mathdnn_jax.generative import vae as jax_vae
from parity.models.autoencoding import AUTOENCODING
from parity.models.family import fixed_size
from parity.models.layers import linear_rules
from parity.models.model import Config, Model
from parity.models.sizes import Read, pytorch_shapes, read_sizes
from parity.rules.table import Rule, RuleTable

if TYPE_CHECKING:
    from parity import reference

LAYERS = {
    "encoder/dense_0": "fc1",
    "encoder/mean": "fc21",
    "encoder/log_variance": "fc22",
    "decoder/dense_0": "fc3",
    "decoder/dense_1": "fc4",
}
"""JAX layer → PyTorch submodule, in the order of computation."""

SIZES = (
    Read("dim", [("fc1.weight", 1), ("fc4.weight", 0), ("fc4.bias", 0)]),
    Read("hidden", [("fc1.weight", 0), ("fc21.weight", 1), ("fc22.weight", 1), ("fc3.weight", 0), ("fc4.weight", 1)]),
    Read("latent_dim", [("fc21.weight", 0), ("fc22.weight", 0), ("fc3.weight", 1)]),
)


def infer_config(state: Mapping[str, np.ndarray]) -> Config:
    """Read the sizes off a PyTorch state dict, and whether its prior is trainable."""
    sizes = read_sizes("vae", SIZES, {name: array.shape for name, array in state.items()}, state)
    return {**sizes, "prior": "trainable" if any(name.startswith("prior.") for name in state) else "standard"}


def params_config(flat: Mapping[str, Any]) -> Config:
    """Read the same off flat JAX parameters."""
    sizes = read_sizes("vae", SIZES, pytorch_shapes(table({"prior": "trainable"}).rules, flat), flat)
    return {**sizes, "prior": "trainable" if any(path.startswith("prior/") for path in flat) else "standard"}


def table(config: Config) -> RuleTable:
    """Return the rules: kernels are transposed, everything else is unchanged."""
    rules: list[Rule] = []
    for layer, module in LAYERS.items():
        rules += linear_rules(module, layer.replace("encoder/dense", "encoder/trunk/dense"))
    if config["prior"] == "trainable":
        rules += [Rule((f"prior.{name}",), f"prior/{name}", "same") for name in ("mean", "log_variance")]
    return RuleTable(tuple(rules))


def build(dim: int, hidden: int, latent_dim: int, prior: Any) -> VAE:
    """Build the JAX model."""
    decoder = dense_decoder(dim, (hidden,))
    return jax_vae((dim,), latent_dim, trunk=dense_trunk((hidden,)), decoder=decoder, prior=prior)


def twin(**config: Any) -> reference.VAE:
    """Build the PyTorch module."""
    from parity.reference import VAE

    return VAE(**config)


BERNOULLI_VAE = Model(
    family=AUTOENCODING,
    event_ndims=1,
    infer_config=infer_config,
    params_config=params_config,
    table=table,
    build=build,
    events=lambda config: fixed_size(config["dim"]),
    twin=twin,
    submodules=lambda _: dict(LAYERS),
)
