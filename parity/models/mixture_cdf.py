"""The one-dimensional flow: its number of components, its rule table, and how it is run and watched."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from mathdnn_jax.bijectors import Params
from mathdnn_jax.flows import Flow, mixture_cdf_flow
from parity.models.family import Events, Family, Layers, fixed_size
from parity.models.flow import init
from parity.models.model import Config, Model
from parity.models.sizes import Read, read_sizes
from parity.rules.table import Rule, RuleTable

if TYPE_CHECKING:
    from parity.reference import Flow1d

NAMES = {"mus": "mean", "log_sigmas": "log_scale", "weight_logits": "weight_logits"}
"""PyTorch's parameters and JAX's."""

RANGE = 3.0
"""Half of the interval from which half of the events are drawn: that of the course's data."""


def infer_config(state: Mapping[str, np.ndarray]) -> Config:
    """Read the number of components off a PyTorch state dict."""
    shapes = {name: array.shape for name, array in state.items()}
    return dict(read_sizes("mixture-cdf", (Read("components", [(name, 0) for name in NAMES]),), shapes, state))


def params_config(flat: Mapping[str, Any]) -> Config:
    """Read the number of components off flat JAX parameters."""
    shapes = {path: np.shape(array) for path, array in flat.items()}
    wanted = (Read("components", [(path, 0) for path in NAMES.values()]),)
    return dict(read_sizes("mixture-cdf", wanted, shapes, flat))


def table(config: Config) -> RuleTable:
    """Return the rules: the arrays are unchanged."""
    del config
    return RuleTable(tuple(Rule((name,), path, "same") for name, path in NAMES.items()))


def build(components: int) -> Flow:
    """Build the JAX flow, whose weights are not normalised, as in the course."""
    return mixture_cdf_flow(components)


def twin(components: int) -> Flow1d:
    """Build the PyTorch module."""
    from parity.reference import Flow1d

    return Flow1d(components)


def draw(flow: Flow, params: Params, events: Events, count: int, seed: int) -> tuple[np.ndarray, str]:
    """Draw half of the numbers uniformly and half from the flow itself."""
    del events
    uniform = np.random.default_rng(seed).uniform(-RANGE, RANGE, count - count // 2).astype(np.float32)
    drawn = np.asarray(flow.sample(params, jax.random.key(seed), (count // 2,)))
    said = f"half uniform on ±{RANGE:g}, half drawn from the flow, seed {seed}"
    return np.concatenate([uniform, drawn]), said


def jax_layers(flow: Flow) -> Callable[[Params, jax.Array], Layers]:
    """Return a pure function (params, x) → {`z`, `log_det`, `log_prob`}.

    z is given an axis of features, of which there is one: all numbers share the weights and their rounding.
    """

    def layers(params: Params, x: jax.Array) -> Layers:
        z, log_det = flow.forward(params, x)
        return {"z": z[:, None], "log_det": log_det, "log_prob": flow.log_prob(params, x)}

    return layers


def torch_layers(module: Any, submodules: Iterable[str], x: np.ndarray) -> dict[str, np.ndarray]:
    """Return the twin's `z`, `log_det` and `log_prob`."""
    import torch

    del submodules
    with torch.no_grad():
        z, log_det = module(torch.from_numpy(x))
        log_prob = module.log_prob(torch.from_numpy(x))
    return {"z": z.numpy()[:, None], "log_det": log_det.numpy(), "log_prob": log_prob.numpy()}


MIXTURE_CDF = Model(
    family=Family(init, jax_layers, torch_layers, draw),
    event_ndims=0,
    infer_config=infer_config,
    params_config=params_config,
    table=table,
    build=build,
    events=lambda _: fixed_size(),
    twin=twin,
    submodules=lambda _: {},
)
