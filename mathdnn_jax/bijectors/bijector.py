"""The interface of every invertible map in the library."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import jax

from mathdnn_jax.errors import EventShapeError
from mathdnn_jax.pickling import reduce_functions

Params = Any
"""A parameter tree: a plain nested dict of arrays."""


class Map(Protocol):
    """One direction of a bijector; the context may be omitted wherever the map does not need one."""

    def __call__(
        self, params: Params, x: jax.Array, context: jax.Array | None = None, /
    ) -> tuple[jax.Array, jax.Array]:
        """Return (the image of x, log|det| of this direction's Jacobian)."""


class Bijector(NamedTuple):
    """An invertible map f: x → z between events of fixed shape, as pure functions that take the parameters first.

    x is data and z is latent. Any number of leading axes, including none, are batch axes. `log_det` always has the
    batch shape and is in nats.

    - `init(key) -> params`, a plain nested dict. It is float32, like the parameters of Flax modules, even if JAX's
      64-bit types are enabled;
    - `forward(params, x, context=None) -> (f(x), log|det ∂f/∂x|)`;
    - `inverse(params, z, context=None) -> (f⁻¹(z), log|det ∂f⁻¹/∂z|)`;
    - `event_ndims`: the number of trailing axes that make up one event, 1 for vectors, 3 for H × W × C images;
    - `parts`: the named maps that a composed map applies in order, empty for other maps. They make it possible to
      certify, check or fuse a composition part by part;
    - `latent_event_ndims`: the number of trailing axes that make up one z, if it differs from `event_ndims` (see
      `latent_ndims`);
    - `init_from_data(params, x, context=None) -> params`: a pure function that sets some parameters from a first
      batch of data, for maps that need it (such as `actnorm`) and compositions of them; None for all others.

    The context is what a conditional map depends on besides x. Its leading axes and the batch axes of x are broadcast
    against each other, so that one context may serve many events, and one event many contexts. Maps that do not depend
    on a context ignore it, so that in a composition it reaches those that do.
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
        """The number of trailing axes that make up one z."""
        return self.event_ndims if self.latent_event_ndims is None else self.latent_event_ndims

    def __reduce__(self) -> tuple[Any, ...]:
        return reduce_functions(self)

    def __copy__(self) -> Bijector:
        return self

    def __deepcopy__(self, memo: object) -> Bijector:
        return self  # it is immutable, like the functions in it


def no_params(key: jax.Array) -> Params:
    """The `init` of maps that have no parameters."""
    del key
    return {}


def check_image(x: jax.Array, channels: int, map_name: str) -> tuple[int, ...]:
    """Return the batch shape of `x` after checking that it holds images of any height and width with `channels`.

    Raises:
        EventShapeError: the trailing axes are not such an image.
    """
    if x.ndim < 3 or x.shape[-1] != channels or 0 in x.shape[-3:-1]:
        raise EventShapeError(
            f"{map_name} acts on images of shape (H, W, {channels}), given an array of shape {x.shape}; "
            f"its trailing axes must be height, width and channels, all axes before them are batch axes"
        )
    return x.shape[:-3]


def check_last_axis(x: jax.Array, size: int, event_ndims: int, map_name: str) -> tuple[int, ...]:
    """Return the batch shape of `x` after checking that its events have `event_ndims` axes, the last of length `size`.

    Raises:
        EventShapeError: `x` has too few axes, an empty event axis, or a last axis of another length.
    """
    if x.ndim < event_ndims or x.shape[-1] != size or 0 in x.shape[x.ndim - event_ndims :]:
        raise EventShapeError(
            f"{map_name} acts on events of shape ({'…, ' * (event_ndims - 1)}{size}), given an array of shape "
            f"{x.shape}; its last {event_ndims} axes must be the event, all axes before them are batch axes"
        )
    return x.shape[: x.ndim - event_ndims]
