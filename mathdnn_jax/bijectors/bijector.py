"""The shape of every invertible map in the library."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import jax

from mathdnn_jax.errors import EventShapeError

Params = Any
"""A parameter tree: a plain nested dict of arrays."""


class Map(Protocol):
    """One direction of a bijector; the context may be left out wherever the map does not need one."""

    def __call__(
        self, params: Params, x: jax.Array, context: jax.Array | None = None, /
    ) -> tuple[jax.Array, jax.Array]:
        """Return (the image of x, log|det| of this direction's Jacobian)."""


class Bijector(NamedTuple):
    """An invertible map f: x → z between events of one shape, as pure functions with the parameters first.

    x is data and z is latent. Leading axes are batch axes, any number of them, also none. `log_det` always has
    the batch shape and is in nats:

    - `init(key) -> params`, a plain nested dict, float32 as Flax makes its own (also where JAX has 64-bit types);
    - `forward(params, x, context=None) -> (f(x), log|det ∂f/∂x|)`;
    - `inverse(params, z, context=None) -> (f⁻¹(z), log|det ∂f⁻¹/∂z|)`;
    - `event_ndims`: how many trailing axes make one event, 1 for vectors, 3 for H × W x C images;
    - `parts`: the named maps that a composed one applies in order, empty for a map that is not composed. Being
      readable, a composition can be certified, checked or fused part by part;
    - `latent_event_ndims`: how many trailing axes make one z, where that is not `event_ndims` (see `latent_ndims`);
    - `init_from_data(params, x, context=None) -> params`: those parameters set from a first batch of data, for maps
      that want it (and compositions of them), a pure function; None for all others.

    The context is what a conditional map depends on beside x, with the same leading axes or fewer; maps that do not
    depend on one pass over it, so that in a composition it reaches those that do.
    """

    init: Callable[[jax.Array], Params]
    forward: Map
    inverse: Map
    event_ndims: int
    parts: tuple[tuple[str, Bijector], ...] = ()
    latent_event_ndims: int | None = None
    init_from_data: Callable[..., Params] | None = None

    @property
    def latent_ndims(self) -> int:
        """How many trailing axes make one z."""
        return self.event_ndims if self.latent_event_ndims is None else self.latent_event_ndims


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


def check_image(x: jax.Array, channels: int, map_name: str) -> tuple[int, ...]:
    """Return the batch shape of `x`, whose trailing axes must be an image of any height and width, and `channels`.

    Raises:
        EventShapeError: they are not.
    """
    if x.ndim < 3 or x.shape[-1] != channels or 0 in x.shape[-3:-1]:
        raise EventShapeError(
            f"{map_name} acts on images of shape (H, W, {channels}), given an array of shape {x.shape}; "
            f"its trailing axes must be height, width and channels, all axes before them are batch axes"
        )
    return x.shape[:-3]


def check_last_axis(x: jax.Array, size: int, event_ndims: int, map_name: str) -> tuple[int, ...]:
    """Return the batch shape of `x`, whose last `event_ndims` axes are an event: any shape that ends with `size`.

    Raises:
        EventShapeError: they are not.
    """
    if x.ndim < event_ndims or x.shape[-1] != size or 0 in x.shape[x.ndim - event_ndims :]:
        raise EventShapeError(
            f"{map_name} acts on events of shape ({'…, ' * (event_ndims - 1)}{size}), given an array of shape "
            f"{x.shape}; its last {event_ndims} axes must be the event, all axes before them are batch axes"
        )
    return x.shape[: x.ndim - event_ndims]
