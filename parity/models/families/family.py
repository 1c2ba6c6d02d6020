"""The functions by which conversion and certification treat every model of a family alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from mathdnn_jax.errors import EventShapeError

Layers = dict[str, Any]
"""What each layer of a network computes, by name, in the order of computation."""


class Events(NamedTuple):
    """What a model takes: events of `shape`, in which None stands for any size of at least that in `least`.

    Drawn events are of shape `drawn`, by default `least`.
    """

    shape: tuple[int | None, ...]
    least: tuple[int, ...]
    drawn: tuple[int, ...] | None = None

    @property
    def example(self) -> tuple[int, ...]:
        """The shape of a drawn event."""
        return self.least if self.drawn is None else self.drawn

    def check(self, x: np.ndarray) -> None:
        """Raise EventShapeError unless x is (N, *shape) with at least one event."""
        given = x.shape[1:]
        fits = len(given) == len(self.shape) and all(
            size >= low if wanted is None else size == wanted
            for size, wanted, low in zip(given, self.shape, self.least, strict=True)
        )
        if not fits or not len(x):
            axes = [f"≥{low}" if size is None else str(size) for size, low in zip(self.shape, self.least, strict=True)]
            expected = f"({axes[0]},)" if len(axes) == 1 else f"({', '.join(axes)})"
            raise EventShapeError(
                f"certify needs at least one event of shape {expected}, given an array of shape {x.shape}"
            )


class Family(NamedTuple):
    """What parity does with any model of a family; `model` is what the model's own `build` returned."""

    event_ndims: int
    """How many axes an event has: 1 for vectors, 3 for H × W x C images."""
    init: Callable[[Any, Events], Any]
    """(model, events) → the model's parameter tree with shapes for arrays; nothing is computed."""
    draw: Callable[[Any, Any, Events, int, int], tuple[np.ndarray, str]]
    """(model, params, events, count, seed) → float32 events to compare on, and what they are in words."""
    beside: Callable[[np.ndarray, int], tuple[np.ndarray, ...]]
    """(events, seed) → what the layers are computed from beside the events, such as latents, each (N, ...)."""
    jax_layers: Callable[[Any], Callable[..., Layers]]
    """model → a pure function (params, events, *beside) → layers, for `jax.jit`."""
    torch_layers: Callable[..., dict[str, np.ndarray]]
    """(twin, {layer: submodule}, events, *beside) → the same layers in PyTorch, in JAX's layout."""
