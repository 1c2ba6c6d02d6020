"""Which leaf of PyTorch's output is compared with which of JAX's, and in which layout: all are, or it is an error."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from mathdnn_jax.errors import ConfigurationError, EventShapeError
from parity.errors import AmbiguousLayoutError, OutputStructureError
from parity.nested import Outline, matched, name_of

SAME, CHANNELS_FIRST = "same", "channels_first"
LAYOUTS = (SAME, CHANNELS_FIRST)
"""PyTorch's array as it is, or with its second axis, the channels, moved to the end, where JAX has them."""


class Pair(NamedTuple):
    """The paths of a leaf in both outputs, JAX's and PyTorch's, and the layout in which PyTorch's is compared.

    `either` says that the other layout has JAX's shape too.
    """

    path: str
    other: str
    layout: str
    either: bool = False


def pair_outputs(jax: Outline, torch: Outline, declared: str | Mapping[str, str] | None) -> list[Pair]:
    """Pair all leaves of both outputs.

    Arrays of four axes and more are images, with PyTorch's channels first and JAX's last, and all others are the same
    in both, unless the shapes tell otherwise or the layout is `declared`: for all leaves, or as {leaf: layout}.

    Raises:
        OutputStructureError: the trees differ, a leaf has another kind of numbers, or there are no numbers.
        EventShapeError: a leaf has another shape.
        AmbiguousLayoutError: a leaf of three axes may be signals or sequences.
        ConfigurationError: what is declared is no layout, or names no leaf.
    """
    found = matched(jax, torch)
    if not any(np.prod(leaf.shape) for leaf, _ in found):
        raise OutputStructureError("there is nothing to compare: the networks return no numbers; let both return some")
    for leaves in zip(*found, strict=True):
        paths = [leaf.path for leaf in leaves]
        if len(set(paths)) < len(paths):
            twice = next(path for path in paths if paths.count(path) > 1)
            raise OutputStructureError(
                f"two leaves of the output are called {name_of(twice)}, so they cannot be told apart: let the names in "
                f"its dicts be texts without slashes"
            )
    layouts = _declared(declared, {name_of(leaf.path): theirs.shape for leaf, theirs in found})
    return [
        Pair(ours.path, theirs.path, *_layout(name_of(ours.path), ours.shape, theirs.shape, layouts))
        for ours, theirs in found
    ]


def moved(array: np.ndarray, layout: str) -> np.ndarray:
    """Return PyTorch's array as JAX has it."""
    return np.moveaxis(array, 1, -1) if layout == CHANNELS_FIRST else array


def moved_back(array: np.ndarray, layout: str) -> np.ndarray:
    """Return JAX's array as PyTorch has it."""
    return np.moveaxis(array, -1, 1) if layout == CHANNELS_FIRST else array


def fitting(shape: tuple[int, ...], like: tuple[int, ...]) -> list[str]:
    """Return the layouts in which PyTorch's shape becomes JAX's, one of them if both give the same array."""
    layouts = [layout for layout in LAYOUTS if _shape_in(shape, layout) == like]
    # A single channel, or a single pixel, is at either end.
    same = len(shape) > 2 and (shape[1] == 1 or np.prod(shape[2:]) == 1)
    return layouts[:1] if same else layouts


def _shape_in(shape: tuple[int, ...], layout: str) -> tuple[int, ...] | None:
    if layout == SAME:
        return shape
    return (shape[0], *shape[2:], shape[1]) if len(shape) > 2 else None


def _declared(declared: str | Mapping[str, str] | None, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, str]:
    if isinstance(declared, str):
        # A leaf without channels has but one layout.
        chosen = {name: declared if len(shape) > 2 else SAME for name, shape in shapes.items()}
    else:
        chosen = dict(declared or {})
    given = [declared] if isinstance(declared, str) else [*chosen.values()]
    if not chosen.keys() <= shapes.keys() or not set(given) <= set(LAYOUTS):
        raise ConfigurationError(
            f"output_layout= is one of {', '.join(map(repr, LAYOUTS))}, or maps leaves of the output to them; got "
            f"{declared!r}, and the leaves are {', '.join(shapes)}"
        )
    return chosen


def _layout(name: str, ours: tuple[int, ...], theirs: tuple[int, ...], declared: Mapping[str, str]) -> tuple[str, bool]:
    if name in declared:
        layouts = [declared[name]] if _shape_in(theirs, declared[name]) == ours else []
    else:
        layouts = fitting(theirs, ours)
    if not layouts:
        wanted = f" in the declared layout {declared[name]!r}" if name in declared else ""
        raise EventShapeError(
            f"the JAX network's {name} has shape {ours} and PyTorch's has {theirs}, so they cannot be compared"
            f"{wanted}: let both return the same, PyTorch with the channels of images first"
        )
    if len(layouts) == 2 and len(theirs) == 3:
        raise AmbiguousLayoutError(
            f"{name} of shape {ours} may be signals, which PyTorch has with the channels first, or sequences, which "
            f"it has as JAX does: declare output_layout='channels_first' or 'same', or {{{name!r}: …}} for it alone"
        )
    return layouts[-1], len(layouts) == 2
