"""Grouping the arrays of either side into the layers that they belong to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from parity.inference.roles import (
    ATTENTION,
    COUNT,
    LAYERS,
    NORM,
    TARGET_ROLES,
    composite_kind,
    norm_modules,
    scales_of_kernels,
    source_role,
)
from parity.rules.layouts import Shape
from parity.rules.prefixes import without_wrappers

COLLECTIONS = ("params", "batch_stats")
Arrays = dict[str, tuple[str, Shape]]


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
    groups: dict[str, Arrays] = {}
    own = {key.rpartition(".")[0] for key in shapes if key.rpartition(".")[2] in ("in_proj_weight", "q_proj_weight")}
    norms = norm_modules(shapes, ".")
    for key, shape in shapes.items():
        name, role = source_role(key, own)
        groups.setdefault(without_wrappers(name), {})[NORM.get(role, role) if name in norms else role] = (key, shape)
    return [unit for position, group in enumerate(groups.items()) for unit in _units(*group, position)]


def target_units(shapes: Mapping[str, Shape], order: Mapping[str, int], *, fused: bool = True) -> list[Unit]:
    """The layers of a tree; `order` gives the order in which leaves are first used, as far as it is known.

    An attention is one layer if the other side has it `fused`, else four.
    """
    groups: dict[str, Arrays] = {}
    whole = {parent for parent, kind in _composites(shapes).items() if fused or kind != ATTENTION}
    norms, scales = norm_modules(shapes, "/"), scales_of_kernels(shapes)
    kernels = set(scales.values())
    for path, shape in shapes.items():
        module, _, leaf = scales.get(path, path).rpartition("/")
        parent, _, part = module.rpartition("/")
        role = TARGET_ROLES.get(leaf, NORM.get(leaf, leaf) if module in norms else leaf)
        if path in scales or path in kernels:
            role = "g" if path in scales else "v"
        name, role = (parent, f"{part.rstrip('_')}.{role}") if parent in whole else (module, role)
        groups.setdefault(without_collection(name), {})[role] = (path, shape)
    units: list[Unit] = []
    for name, arrays in groups.items():
        positions = [order[path] for path, _ in arrays.values() if path in order]
        units += _units(name, arrays, min(positions) if positions else None)
    return units


def count_attentions(shapes: Mapping[str, Shape]) -> int:
    """The number of attentions in a tree that have an axis for their heads."""
    return list(_composites(shapes).values()).count(ATTENTION)


def _composites(shapes: Mapping[str, Shape]) -> dict[str, str]:
    """{module: kind} of the layers that have their arrays in several modules."""
    parents = {path.rpartition("/")[0].rpartition("/")[0] for path in shapes}
    return {parent: kind for parent in parents if (kind := composite_kind(parent, shapes))}


def _units(name: str, arrays: Mapping[str, tuple[str, Shape]], position: int | None) -> Iterable[Unit]:
    kept = {role for role in arrays if role != COUNT}
    if (
        kept in LAYERS
        or any("." in role for role in kept)
        or any(role.startswith(("weight_", "bias_")) for role in kept)
    ):
        return [Unit(name, arrays, position)]
    return [Unit(key, {"array": (key, shape)}, position) for key, shape in arrays.values()]


def without_collection(path: str) -> str:
    """The path without its collection."""
    first, _, rest = path.partition("/")
    return (rest if first in COLLECTIONS else path) if path not in COLLECTIONS else ""


def module_of_target(path: str) -> str:
    """The path of the layer that a leaf belongs to, without its collection."""
    return without_collection(path.rpartition("/")[0])


def module_of_source(key: str) -> str:
    """The PyTorch submodule that an array belongs to."""
    module, mark, _ = key.rpartition(".parametrizations.")
    return module if mark else "" if key.startswith("parametrizations.") else key.rpartition(".")[0]
