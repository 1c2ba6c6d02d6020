"""The shape of every invertible map in the library."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax

from mathdnn_jax.errors import EventShapeError

Params = Any
"""A parameter tree: a plain nested dict of arrays."""


class Bijector(NamedTuple):
    """An invertible map f: x → z between events of one shape, as pure functions with the parameters first.

    x is data and z is latent. Leading axes are batch axes, any number of them, also none. `log_det` always has
    the batch shape and is in nats:

    - `init(key) -> params`, a plain nested dict, float32 as Flax makes its own (also where JAX has 64-bit types);
    - `forward(params, x) -> (f(x), log|det ∂f/∂x|)`;
    - `inverse(params, z) -> (f⁻¹(z), log|det ∂f⁻¹/∂z|)`;
    - `event_ndims`: how many trailing axes make one event, 1 for vectors, 3 for H × W x C images;
    - `parts`: the named maps that a composed one applies in order, empty for a map that is not composed. Being
      readable, a composition can be certified, checked or fused part by part.
    """

    init: Callable[[jax.Array], Params]
    forward: Callable[[Params, jax.Array], tuple[jax.Array, jax.Array]]
    inverse: Callable[[Params, jax.Array], tuple[jax.Array, jax.Array]]
    event_ndims: int
    parts: tuple[tuple[str, Bijector], ...] = ()


def check_event(x: jax.Array, event_shape: tuple[int, ...], map_name: str) -> tuple[int, ...]:
    """Return the batch shape of `x`, whose trailing axes must be `event_shape`.

    Raises:
        EventShapeError: they are not.
    """
    batch_ndims = x.ndim - len(event_shape)
    if batch_ndims < 0 or x.shape[batch_ndims:] != event_shape:
        raise EventShapeError(
            f"{map_name} acts on events of shape {event_shape}, given an array of shape {x.shape}; "
            f"its trailing axes must be the event, all axes before them are batch axes"
        )
    return x.shape[:batch_ndims]
