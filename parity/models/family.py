"""What the models of one family have in common: how they are run and watched, in JAX and in PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from mathdnn_jax.errors import EventShapeError

Layers = dict[str, Any]
"""The outputs of a network's layers by name, in the order of computation."""


class Events(NamedTuple):
    """The events that a model takes: of `shape`, in which None stands for any size of at least that in `least`.

    Drawn events have the shape `drawn`, by default `least`.
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
                f"certify needs at least one event of shape {expected}, got an array of shape {x.shape}"
            )


def fixed_size(*shape: int) -> Events:
    """Return events of exactly this shape."""
    return Events(shape, shape)


def draw_uniform(model: Any, params: Any, events: Events, count: int, seed: int) -> tuple[np.ndarray, str]:
    """Draw images of independent entries, uniform on [0, 1)."""
    del model, params
    x = np.random.default_rng(seed).random((count, *events.example), dtype=np.float32)
    return x, f"uniform, seed {seed}"


def nothing(x: np.ndarray, seed: int) -> tuple[np.ndarray, ...]:
    """Return no further inputs: everything is computed from the events."""
    del x, seed
    return ()


class Family(NamedTuple):
    """What parity does with every model of a family; `model` is what the model's own `build` returned."""

    init: Callable[[Any, Events], Any]
    """(model, events) → the model's parameter tree with shapes for arrays; nothing is computed."""
    jax_layers: Callable[[Any], Callable[..., Layers]]
    """model → a pure function (params, events, *further inputs) → {layer: output}, for `jax.jit`."""
    torch_layers: Callable[..., dict[str, np.ndarray]]
    """(twin, its submodules to watch, events, *further inputs) → {submodule: output}, in JAX's layout.

    Values that are not the output of a submodule, such as a flow's `log_det`, have the same name on both sides.
    """
    draw: Callable[[Any, Any, Events, int, int], tuple[np.ndarray, str]] = draw_uniform
    """(model, params, events, count, seed) → float32 events to compare on, and a description of them."""
    beside: Callable[[np.ndarray, int], tuple[np.ndarray, ...]] = nothing
    """(events, seed) → further inputs, such as latents, each (N, ...)."""
