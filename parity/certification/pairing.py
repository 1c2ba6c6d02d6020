"""Which JAX layer computes what which PyTorch submodule computes, and in which layout their arrays compare."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from parity.capture import INPUT, OUTPUT, Place
from parity.inference.names import tokens
from parity.inference.units import module_of_source, module_of_target
from parity.rules.table import RuleTable

CHANNELS_FIRST = (
    "Conv1d", "Conv2d", "Conv3d", "ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d", "BatchNorm1d", "BatchNorm2d",
    "BatchNorm3d", "InstanceNorm1d", "InstanceNorm2d", "InstanceNorm3d", "GroupNorm", "LayerNorm2d",
)  # fmt: skip
CHANNELS_LAST = ("Linear", "LayerNorm", "Embedding", "LSTM", "GRU", "MultiheadAttention")
SILENT = ("Flatten", "Dropout", "Dropout2d", "Identity")
"""PyTorch layers that compute nothing; the order of a flattened image is judged by the layer that reads it."""


class Known(NamedTuple):
    """What a rule table says of the layers: which belong together, which have weights, which read flattened images."""

    layers: Mapping[str, str]
    """{JAX layer: PyTorch submodule}, for those of which one is made of the other as a whole."""
    owners: frozenset[str]
    """The PyTorch submodules that have arrays of their own; the module itself is judged by its output."""
    flattened: Mapping[str, int]
    """{PyTorch submodule: number of channels} of the dense layers whose input is a flattened image."""


def known_layers(table: RuleTable) -> Known:
    """Read off a table what is known of the layers."""

    def module(key: str) -> str:
        return table.prefix + module_of_source(key)

    whole = [rule for rule in table.rules if rule.part == (0, 1) and module_of_target(rule.target)]
    keys = [*(key for rule in table.rules for key in rule.sources), *table.tied]
    return Known(
        {module_of_target(rule.target): module(rule.sources[0]) for rule in whole},
        frozenset(module(key) for key in keys if module_of_source(key)),
        {module(r.sources[0]): r.options["channels"] for r in table.rules if r.layout == "flattened"},
    )


def in_jax_layout(kind: str, array: np.ndarray, like: np.ndarray) -> np.ndarray | None:
    """Return what a PyTorch layer takes or returns with its channels where JAX has them, or None if no layout fits.

    `kind` is the class of the layer. The arrays of a layer that always has its channels first, or always last, are
    compared in that layout; those of any other, such as a block or a ReLU, in whichever layout is nearer, and they can
    only pass if one of them agrees.
    """
    layouts = []
    if kind not in CHANNELS_LAST and array.ndim >= 3:
        layouts.append(np.moveaxis(array, 1, -1))
    if kind not in CHANNELS_FIRST or array.ndim < 3:
        layouts.append(array)
    layouts = [layout for layout in layouts if layout.shape == like.shape]
    if not layouts and array.ndim > like.ndim and array.size == like.size:
        # Pooled to one pixel, for which JAX may keep no axes.
        layouts = [array.reshape(like.shape)] if array.shape[:2] == like.shape else []
    return min(layouts, key=lambda layout: _distance(layout, like), default=None)


def _distance(first: np.ndarray, second: np.ndarray) -> float:
    """Return the sum of the differences; equal infinities, as of a mask, are equal."""
    same = first == second
    return float(np.abs(np.where(same, 0, first) - np.where(same, 0, second).astype(complex)).sum())


def unflattened(array: np.ndarray, channels: int) -> np.ndarray:
    """Return flattened images (…, C * H * W) as JAX flattens them, (…, H * W * C)."""
    images = array.reshape(*array.shape[:-1], channels, -1)
    return images.swapaxes(-1, -2).reshape(array.shape)


def pair_layers(jax_names: Iterable[str], torch_names: Iterable[str], known: Mapping[str, str]) -> dict[str, str]:
    """Return {JAX layer: PyTorch submodule} in JAX's order, for layers that the rules pair or that have equal names.

    `known` has the rules' pairs. In a model of several Flax modules, every module has paths of its own, so a call is
    also recognized by the end of its path, if only one path in the rules ends like this.
    """
    names, others = list(jax_names), set(torch_names)
    alike: dict[tuple[str, ...], list[str]] = {}
    for other in others:
        alike.setdefault(tokens(other), []).append(other)
    pairs: dict[str, str] = {}
    left = dict(known)
    for name in sorted(names, key=len, reverse=True):
        layer, mark, count = name.partition("#")
        ends = [path for path in left if path == layer or path.endswith(f"/{layer}")]
        module = left.get(layer) or (left[ends[0]] if len(ends) == 1 else None)
        if module is not None and f"{module}{mark}{count}" in others:
            pairs[name] = f"{module}{mark}{count}"
            left = {path: other for path, other in left.items() if other != module or mark}
        elif module is None and len(found := alike.get(tokens(name), [])) == 1:
            pairs[name] = found[0]
    return {name: pairs[name] for name in names if name in pairs}


def pair_places(
    ours: Sequence[Place], theirs: Iterable[Place], kinds: Mapping[str, str], known: Known
) -> dict[Place, Place]:
    """Return {JAX's place: PyTorch's} in JAX's order: outputs of all paired layers, inputs of those with weights."""
    jax_sides, torch_sides = _by_side(ours), _by_side(theirs)
    names = [dict.fromkeys(layer for layer, _ in sides if layer) for sides in (jax_sides, torch_sides)]
    pairs: dict[Place, Place] = {}
    for layer, submodule in pair_layers(names[0], names[1], known.layers).items():
        if kind_of(kinds, submodule) not in SILENT:
            weighted = bare(submodule) in known.owners
            for side in (INPUT, OUTPUT) if weighted else (OUTPUT,):
                pairs |= _alike(jax_sides.get((layer, side), []), torch_sides.get((submodule, side), []))
    return {place: pairs[place] for place in ours if place in pairs}


def bare(call: str) -> str:
    """Return the name of a layer from that of its call, `name#2`."""
    return call.partition("#")[0]


def kind_of(kinds: Mapping[str, str], call: str) -> str:
    """Return the class of the submodule that is called."""
    return kinds.get(bare(call), "")


def _by_side(places: Iterable[Place]) -> dict[tuple[str, str], list[Place]]:
    sides: dict[tuple[str, str], list[Place]] = {}
    for place in places:
        sides.setdefault((place.layer, place.side), []).append(place)
    return sides


def _alike(ours: list[Place], theirs: list[Place]) -> dict[Place, Place]:
    """Pair the arrays of equal paths, or the only one of a side with the first of the other."""
    by_path = {place.path: place for place in theirs}
    pairs = {place: by_path[place.path] for place in ours if place.path in by_path}
    if not pairs and ours and theirs and 1 in (len(ours), len(theirs)):
        return {ours[0]: theirs[0]}
    return pairs
