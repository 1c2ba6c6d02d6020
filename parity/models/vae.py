"""What parity knows of the variational autoencoder with one hidden layer on either side and a Bernoulli likelihood."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from mathdnn_jax.generative import VAE, dense_decoder, dense_trunk
from mathdnn_jax.generative import vae as jax_vae
from parity.models.families import GENERATIVE, Events
from parity.models.layers import Read, read_sizes
from parity.models.model import Config, Model
from parity.rules.checks import SAME, TRANSPOSE, Rule

if TYPE_CHECKING:
    from parity import reference

LAYERS = {
    "encoder/dense_0": "fc1",
    "encoder/mean": "fc21",
    "encoder/log_variance": "fc22",
    "decoder/dense_0": "fc3",
    "decoder/dense_1": "fc4",
}
"""JAX layer → PyTorch submodule, in the order in which they are computed."""

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
    """The same, off flat JAX parameters."""
    table = {rule.target: rule for rule in rules({"prior": "trainable"})}
    known = [(table[path], np.shape(leaf)) for path, leaf in flat.items() if path in table]
    shapes = {r.source: r.transform.source_shape(s) for r, s in known if r.transform.ndim in (None, len(s))}
    sizes = read_sizes("vae", SIZES, shapes, flat)
    return {**sizes, "prior": "trainable" if any(path.startswith("prior/") for path in flat) else "standard"}


def rules(config: Config) -> tuple[Rule, ...]:
    """Dense kernels are transposed, all else stays as it is."""
    table = []
    for layer, module in LAYERS.items():
        path = layer.replace("encoder/dense", "encoder/trunk/dense")
        table += [Rule(f"{module}.weight", f"{path}/kernel", TRANSPOSE), Rule(f"{module}.bias", f"{path}/bias", SAME)]
    if config["prior"] == "trainable":
        table += [Rule(f"prior.{name}", f"prior/{name}", SAME) for name in ("mean", "log_variance")]
    return tuple(table)


def build(dim: int, hidden: int, latent_dim: int, prior: Any) -> VAE:
    """The JAX model."""
    decoder = dense_decoder(dim, (hidden,))
    return jax_vae((dim,), latent_dim, trunk=dense_trunk((hidden,)), decoder=decoder, prior=prior)


def twin(**config: Any) -> reference.VAE:
    """The PyTorch module."""
    from parity.reference import VAE

    return VAE(**config)


MODEL = Model(
    family=GENERATIVE,
    infer_config=infer_config,
    params_config=params_config,
    rules=rules,
    build=build,
    events=lambda config: Events((config["dim"],), (config["dim"],)),
    twin=twin,
    torch_layers=lambda _: dict(LAYERS),
)
