"""One row of the table of maps that the shared tests go through."""

from __future__ import annotations

from typing import NamedTuple

from mathdnn_jax import Bijector


class Case(NamedTuple):
    """A map, the shapes of its events x and (where it is another) z, where its events lie, its context's shape."""

    bijector: Bijector
    event_shape: tuple[int, ...]
    latent_shape: tuple[int, ...] | None = None
    support: tuple[float, float] | None = None
    context_shape: tuple[int, ...] | None = None
    parameter_scale: float = 1.0

    @property
    def z_shape(self) -> tuple[int, ...]:
        return self.event_shape if self.latent_shape is None else self.latent_shape
