"""NICE: its hyperparameters, its rule table and its layers."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from mathdnn_jax.flows import Flow
from mathdnn_jax.flows import nice as jax_nice
from parity.models.family import Events, fixed_size
from parity.models.flow import FLOW
from parity.models.layers import linear_rules
from parity.models.model import Config, Model
from parity.models.sizes import most_frequent, wrong_model
from parity.rules.table import Rule, RuleTable

if TYPE_CHECKING:
    from parity import reference

_SOURCE = re.compile(r"coupling\.(?P<i>\d+)\.(?:in_block\.0|mid_block\.(?P<mid>\d+)\.0|out_block)\.(?:weight|bias)")
_TARGET = re.compile(r"coupling_(?P<i>\d+)/dense_(?P<k>\d+)/(?:kernel|bias)")


def infer_config(state: Mapping[str, np.ndarray]) -> Config:
    """Read dim, width, depth and couplings off a PyTorch state dict.

    Where arrays contradict one another, the most frequent answer is taken. The conversion then reports the odd one
    out as the mistake.

    Raises:
        WrongModelError: the state has none of NICE's couplings.
    """
    matches = [match for match in map(_SOURCE.fullmatch, state) if match]
    dims, widths = [], []
    for name, array in state.items():
        if name == "scaling.scale" and array.ndim == 2:
            dims.append(array.shape[1])
        elif name.endswith(".in_block.0.weight") and array.ndim == 2:
            widths.append(array.shape[0])
            dims.append(2 * array.shape[1])
        elif name.endswith(".out_block.weight") and array.ndim == 2:
            widths.append(array.shape[1])
            dims.append(2 * array.shape[0])
    if not matches or not dims or not widths:
        raise wrong_model(_not_nice("PyTorch state", "coupling.0.in_block.0.weight, …, scaling.scale"), state)
    middle = {(match["i"], match["mid"]) for match in matches if match["mid"] is not None}
    blocks_per_coupling = Counter(coupling for coupling, _ in middle)
    return {
        "dim": most_frequent(dims),
        "width": most_frequent(widths),
        "depth": 1 + max(blocks_per_coupling.values(), default=0),
        "couplings": len({match["i"] for match in matches}),
    }


def params_config(flat: Mapping[str, Any]) -> Config:
    """Read dim, width, depth and couplings off flat JAX parameters.

    Raises:
        WrongModelError: the parameters have none of NICE's couplings, or no scaling.
    """
    matches = [match for match in map(_TARGET.fullmatch, flat) if match]
    first, scale = flat.get("coupling_0/dense_0/kernel"), flat.get("scaling/log_scale")
    if first is None or scale is None or np.ndim(first) != 2 or np.ndim(scale) != 1:
        raise wrong_model(_not_nice("parameter tree", "coupling_0/dense_0/kernel, …, scaling/log_scale"), flat)
    return {
        "dim": np.shape(scale)[0],
        "width": np.shape(first)[1],
        "depth": max(1, max(Counter(match["i"] for match in matches if match[0].endswith("kernel")).values()) - 1),
        "couplings": len({match["i"] for match in matches}),
    }


def table(config: Config) -> RuleTable:
    """Return the rules: kernels are transposed, the scaling loses its axis of length 1, biases are unchanged."""
    rules: list[Rule] = []
    for layer, module in submodules(config).items():
        if "/" in layer:
            rules += linear_rules(module, layer)
    return RuleTable((*rules, Rule(("scaling.scale",), "scaling/log_scale", "leading_ones", {"count": 1})))


def submodules(config: Config) -> dict[str, str]:
    """Return {JAX layer: PyTorch submodule}, in the order of computation."""
    layers = {}
    for i in range(config["couplings"]):
        names = ["in_block.0", *(f"mid_block.{j}.0" for j in range(config["depth"] - 1)), "out_block"]
        layers.update({f"coupling_{i}/dense_{k}": f"coupling.{i}.{name}" for k, name in enumerate(names)})
        layers[f"coupling_{i}"] = f"coupling.{i}"
    return {**layers, "scaling": "scaling"}


def events(config: Config) -> Events:
    """Return vectors of `dim` entries."""
    return fixed_size(config["dim"])


def build(**config: int) -> Flow:
    """Build the JAX flow."""
    return jax_nice(**config)


def twin(**config: int) -> reference.NICE:
    """Build the PyTorch module."""
    from parity.reference import NICE

    return NICE(**config)


def _not_nice(what: str, expected: str) -> str:
    return f"this {what} is not a NICE's: expected names like {expected}"


NICE = Model(
    family=FLOW,
    event_ndims=1,
    infer_config=infer_config,
    params_config=params_config,
    table=table,
    build=build,
    events=events,
    twin=twin,
    submodules=submodules,
)
