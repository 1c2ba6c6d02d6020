"""A PyTorch module and a JAX function as two networks whose layers are compared, by the places of their arrays."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from mathdnn_jax.errors import EventShapeError
from parity.capture import INPUT, OUTPUT, Place, flax_values
from parity.certification.comparison import Networks
from parity.certification.inputs import Arguments
from parity.certification.outputs import Pair, moved, pair_outputs
from parity.certification.pairing import Known, bare, in_jax_layout, kind_of, pair_places, unflattened
from parity.certification.recording import Recording, Run
from parity.certification.torch_side import copied, record
from parity.nested import Outline, kind_of_array, leaves, outline
from parity.rules.targets import rebuild, widened


class Sides(NamedTuple):
    """Both networks, each with what it is called with; `module` is a PyTorch module or a `Recording` of one."""

    module: Any
    apply: Callable[..., Any]
    arguments: Arguments
    torch_arguments: Arguments


class Watch:
    """What is known of the layers, and of the outputs once the networks have run."""

    def __init__(self, known: Known, kinds: Mapping[str, str]) -> None:
        self.known, self.kinds = known, kinds
        self.outlines: dict[str, Outline] = {}
        self.outputs: list[Pair] = []

    def align(self, place: Place, other: Place, array: np.ndarray, like: np.ndarray) -> np.ndarray | None:
        """Return PyTorch's array in JAX's layout, or None if its shape does not fit."""
        if not place.layer:
            layout = next(pair.layout for pair in self.outputs if pair.path == place.path)
            array = moved(array, layout)
            return array if array.shape == like.shape else None
        if place.side == INPUT and (channels := self.known.flattened.get(bare(other.layer))):
            return unflattened(array, channels) if array.shape == like.shape else None
        return in_jax_layout(kind_of(self.kinds, other.layer), array, like)


def pair_networks(
    sides: Sides,
    watch: Watch,
    variables: Any,
    combined: Mapping[str, Any],
    output_layout: str | Mapping[str, str] | None,
) -> Networks:
    """Return both networks as `compare` runs them; `combined` are the leaves that are more exact in float64."""

    def jax_layers(tree: Any, *arrays: Any) -> dict[Place, Any]:
        with flax_values(tree) as values:
            output = sides.arguments.call(sides.apply, dict(zip(sides.arguments.arrays, arrays, strict=True)), tree)
        watch.outlines["JAX"] = outline(output, kind_of_array)
        own = {Place("", OUTPUT, path): leaf for path, leaf in leaves(output) if leaf is not None}
        return {**values, **own}

    def torch_layers(module: Any, *arrays: np.ndarray) -> dict[Place, np.ndarray]:
        if isinstance(module, Run):
            values, watch.outlines["PyTorch"] = module
        else:
            values, watch.outlines["PyTorch"] = record(module, sides.torch_arguments, arrays)
        return values

    def pair(ours: list[Place], theirs: Collection[Place]) -> dict[Place, Place]:
        watch.outputs = pair_outputs(watch.outlines["JAX"], watch.outlines["PyTorch"], output_layout)
        own = {Place("", OUTPUT, found.path): Place("", OUTPUT, found.other) for found in watch.outputs}
        return {**pair_places(ours, theirs, watch.kinds, watch.known), **own}

    def align(place: Place, other: Place, array: np.ndarray, like: np.ndarray) -> np.ndarray | None:
        found = watch.align(place, other, array, like)
        whole = not place.layer or (other.layer in watch.known.layers.values() and not other.path)
        if found is None and place.side == OUTPUT and whole:
            raise EventShapeError(f"layer {place} has shape {like.shape} where PyTorch's {other} has {array.shape}")
        return found

    single, double = _in_both_precisions(sides.module)
    with jax.enable_x64(True):
        wide = rebuild(widened(variables), combined)
    return Networks(
        single, double, torch_layers, jax_layers, variables, wide, pair, align, lambda place: place.side == OUTPUT
    )


def _in_both_precisions(module: Any) -> tuple[Any, Any]:
    """Return the module in float32 and in float64, or both runs of its recording."""
    if isinstance(module, Recording):
        return module.single, module.double
    import torch

    return copied(module, torch.float32), copied(module, torch.float64)
