"""What parity knows of NICE: its hyperparameters, its rule table and its layers."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from mathdnn_jax.flows import Flow
from mathdnn_jax.flows import nice as jax_nice
from parity.errors import WrongModelError
from parity.models.families import Events
from parity.rules.checks import DROP_ROW, SAME, TRANSPOSE, Rule

if TYPE_CHECKING:
    from parity.reference import NICE

_SOURCE = re.compile(r"coupling\.(?P<i>\d+)\.(?:in_block\.0|mid_block\.(?P<mid>\d+)\.0|out_block)\.(?:weight|bias)")
_TARGET = re.compile(r"coupling_(?P<i>\d+)/dense_(?P<k>\d+)/(?:kernel|bias)")


def infer_config(state: Mapping[str, np.ndarray]) -> dict[str, int]:
    """Read dim, width, depth and couplings off a PyTorch state dict.

    Where arrays contradict one another the most frequent answer is taken, so that the odd one out is what the
    conversion then names as the mistake.

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
        raise WrongModelError(_not_nice("PyTorch state", state, "coupling.0.in_block.0.weight, …, scaling.scale"))
    middle = {(match["i"], match["mid"]) for match in matches if match["mid"] is not None}
    blocks_per_coupling = Counter(coupling for coupling, _ in middle)
    return {
        "dim": _most_frequent(dims),
        "width": _most_frequent(widths),
        "depth": 1 + max(blocks_per_coupling.values(), default=0),
        "couplings": len({match["i"] for match in matches}),
    }


def params_config(flat: Mapping[str, Any]) -> dict[str, int]:
    """Read dim, width, depth and couplings off flat JAX parameters.

    Raises:
        WrongModelError: the parameters have none of NICE's couplings, or no scaling.
    """
    matches = [match for match in map(_TARGET.fullmatch, flat) if match]
    first, scale = flat.get("coupling_0/dense_0/kernel"), flat.get("scaling/log_scale")
    if first is None or scale is None or np.ndim(first) != 2 or np.ndim(scale) != 1:
        raise WrongModelError(_not_nice("parameter tree", flat, "coupling_0/dense_0/kernel, …, scaling/log_scale"))
    return {
        "dim": np.shape(scale)[0],
        "width": np.shape(first)[1],
        "depth": max(1, max(Counter(match["i"] for match in matches if match[0].endswith("kernel")).values()) - 1),
        "couplings": len({match["i"] for match in matches}),
    }


def rules(config: Mapping[str, int]) -> tuple[Rule, ...]:
    """Dense kernels are transposed, the scaling loses its axis of length 1, biases stay as they are."""
    table = []
    for layer, module in torch_layers(config).items():
        if "/" in layer:
            table.append(Rule(f"{module}.weight", f"{layer}/kernel", TRANSPOSE))
            table.append(Rule(f"{module}.bias", f"{layer}/bias", SAME))
    return (*table, Rule("scaling.scale", "scaling/log_scale", DROP_ROW))


def torch_layers(config: Mapping[str, int]) -> dict[str, str]:
    """Return {JAX layer: PyTorch submodule}, in the order in which they are computed."""
    layers = {}
    for i in range(config["couplings"]):
        names = ["in_block.0", *(f"mid_block.{j}.0" for j in range(config["depth"] - 1)), "out_block"]
        layers.update({f"coupling_{i}/dense_{k}": f"coupling.{i}.{name}" for k, name in enumerate(names)})
        layers[f"coupling_{i}"] = f"coupling.{i}"
    return {**layers, "scaling": "scaling"}


def events(config: Mapping[str, int]) -> Events:
    """Vectors of `dim` entries."""
    return Events((config["dim"],), (config["dim"],))


def build(**config: int) -> Flow:
    """The JAX flow."""
    return jax_nice(**config)


def twin(**config: int) -> NICE:
    """The PyTorch module."""
    from parity.reference import NICE

    return NICE(**config)


def _most_frequent(values: list[int]) -> int:
    return Counter(values).most_common(1)[0][0]


def _not_nice(what: str, names: Iterable[str], expected: str) -> str:
    names = list(names)
    shown = ", ".join(names[:6]) + (f", … ({len(names)} in all)" if len(names) > 6 else "")
    return f"this {what} is not a NICE's: expected names like {expected}; found {shown or 'nothing'}"
