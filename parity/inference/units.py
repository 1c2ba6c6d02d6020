"""Grouping the arrays of either side into the layers that they belong to."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from parity.rules.layouts import Shape

BIAS, WEIGHT, MEAN, VAR, COUNT = "bias", "weight", "mean", "var", "count"
TARGET_ROLES = {
    "kernel": WEIGHT, "scale": WEIGHT, "embedding": WEIGHT, "weight": WEIGHT, "w": WEIGHT, "W": WEIGHT,
    "negative_slope": WEIGHT, "bias": BIAS, "b": BIAS, "mean": MEAN, "running_mean": MEAN, "var": VAR,
    "running_var": VAR, "num_batches_tracked": COUNT,
}  # fmt: skip
SOURCE_ROLES = {
    "weight": WEIGHT, "bias": BIAS, "running_mean": MEAN, "running_var": VAR, "num_batches_tracked": COUNT,
    "weight_g": "g", "weight_v": "v", "parametrizations.weight.original0": "g",
    "parametrizations.weight.original1": "v",
    "in_proj_weight": "in_weight", "in_proj_bias": "in_bias", "out_proj.weight": "out_weight",
    "out_proj.bias": "out_bias",
}  # fmt: skip
LAYERS = (
    {WEIGHT}, {WEIGHT, BIAS}, {"g", "v"}, {"g", "v", BIAS}, {MEAN, VAR}, {MEAN, VAR, WEIGHT, BIAS},
    {"in_weight", "out_weight"}, {"in_weight", "out_weight", "in_bias", "out_bias"},
)  # fmt: skip
COLLECTIONS = ("params", "batch_stats")
RNN = re.compile(r"(?P<module>.*?)\.?(?P<role>(?:weight|bias)_(?:ih|hh))(?P<layer>_l\d+(?:_reverse)?)?")
GATES = {"lstm": ("i", "f", "g", "o"), "gru": ("r", "z", "n")}

SIDES = (("i", "h"), ("dense_i", "dense_h"))
"""The names of the two products, of x and of h, in Linen's SimpleCell and NNX's SimpleCell and OptimizedLSTMCell."""


class Unit(NamedTuple):
    """A layer: its name, its arrays as {role: (key, shape)}, and its position among the layers of its side.

    `position` is None if the order of computation is not known. An array that does not belong to a known kind of layer
    is a unit of its own with the single role "array".
    """

    name: str
    arrays: Mapping[str, tuple[str, Shape]]
    position: int | None = None

    @property
    def roles(self) -> set[str]:
        """The roles of its arrays, except for the count of batches, on which nothing depends."""
        return set(self.arrays) - {COUNT}


def source_units(shapes: Mapping[str, Shape]) -> list[Unit]:
    """The layers of a PyTorch state, in its order."""
    groups: dict[str, dict[str, tuple[str, Shape]]] = {}
    attention = {key.rpartition(".")[0] for key in shapes if key.rpartition(".")[2] == "in_proj_weight"}
    for key, shape in shapes.items():
        name, role = _source_role(key, attention)
        groups.setdefault(name, {})[role] = (key, shape)
    return [unit for position, group in enumerate(groups.items()) for unit in _units(*group, position)]


def target_units(shapes: Mapping[str, Shape], order: Mapping[str, int]) -> list[Unit]:
    """The layers of a tree; `order` gives the order in which leaves are first used, as far as it is known."""
    groups: dict[str, dict[str, tuple[str, Shape]]] = {}
    parents = {path.rpartition("/")[0].rpartition("/")[0] for path in shapes}
    whole = {parent: kind for parent in parents if (kind := _composite(parent, shapes))}
    for path, shape in shapes.items():
        module, _, leaf = path.rpartition("/")
        parent, _, part = module.rpartition("/")
        if parent in whole:
            groups.setdefault(_bare(parent), {})[f"{part.rstrip('_')}.{TARGET_ROLES.get(leaf, leaf)}"] = (path, shape)
        else:
            groups.setdefault(_bare(module), {})[TARGET_ROLES.get(leaf, leaf)] = (path, shape)
    units: list[Unit] = []
    for name, arrays in groups.items():
        positions = [order[path] for path, _ in arrays.values() if path in order]
        units += _units(name, arrays, min(positions) if positions else None)
    return units


def _units(name: str, arrays: Mapping[str, tuple[str, Shape]], position: int | None) -> Iterable[Unit]:
    kept = {role for role in arrays if role != COUNT}
    if (
        kept in LAYERS
        or any("." in role for role in kept)
        or any(role.startswith(("weight_", "bias_")) for role in kept)
    ):
        return [Unit(name, arrays, position)]
    return [Unit(key, {"array": (key, shape)}, position) for key, shape in arrays.values()]


def _source_role(key: str, attention: set[str]) -> tuple[str, str]:
    if match := RNN.fullmatch(key):
        return ".".join(filter(None, (match["module"], (match["layer"] or "").lstrip("_")))), match["role"]
    for suffix, role in sorted(SOURCE_ROLES.items(), key=lambda item: -len(item[0])):
        module = key.removesuffix(f".{suffix}")
        if key == suffix or module != key:
            module = "" if key == suffix else module
            if suffix.startswith("out_proj") and module not in attention:
                continue
            return module, role
    module, _, leaf = key.rpartition(".")
    return module, leaf


def _composite(parent: str, shapes: Mapping[str, Shape]) -> str | None:
    """The kind of layer that has its arrays in several modules, or None."""
    below = {p.removeprefix(f"{parent}/").split("/")[0].rstrip("_") for p in shapes if p.startswith(f"{parent}/")}
    if below == {"query", "key", "value", "out"} and len(shapes.get(f"{parent}/query/kernel", ())) == 3:
        return "attention"
    for sides in SIDES:
        if below == set(sides) and _cell([shapes.get(f"{parent}/{side}/kernel", ()) for side in sides]):
            return "cell"
    for kind, gates in GATES.items():
        inner = {"in", "hn"} if kind == "gru" else set()
        if below == {f"{side}{gate}" for side in "ih" for gate in gates} | inner:
            return kind
    return None


def _cell(kernels: list[Shape]) -> bool:
    """Whether (in, n H) and (H, n H) are the kernels of a plain RNN, n = 1, or an LSTM, n = 4.

    A GRU with stacked gates has no counterpart in PyTorch, whose GRU has another bias on the hidden side, inside the
    reset.
    """
    if [len(kernel) for kernel in kernels] != [2, 2]:
        return False
    first, second = kernels
    return first[1] == second[1] and second[1] in (second[0], 4 * second[0])


def _bare(path: str) -> str:
    """The path without its collection."""
    first, _, rest = path.partition("/")
    return (rest if first in COLLECTIONS else path) if path not in COLLECTIONS else ""


def module_of_target(path: str) -> str:
    """The path of the layer that a leaf belongs to, without its collection."""
    return _bare(path.rpartition("/")[0])


def module_of_source(key: str) -> str:
    """The PyTorch submodule that an array belongs to."""
    return key.partition(".parametrizations.")[0] if ".parametrizations." in key else key.rpartition(".")[0]
