"""Maps that rearrange the entries of an event into another shape."""

from __future__ import annotations

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp

from mathdnn_jax.bijectors.bijector import Bijector, Params, no_params
from mathdnn_jax.errors import ConfigurationError
from mathdnn_jax.events import check_event

Rearrangement = Callable[[jax.Array, tuple[int, ...]], jax.Array]
"""(array, batch shape) → the array with the entries of each event moved."""


def reshape(event_shape: tuple[int, ...], latent_shape: tuple[int, ...]) -> Bijector:
    """z has the entries of x in the same (C) order and another shape,  log|det ∂z/∂x| = 0.

    The two shapes may have different ranks, so that maps on images and maps on vectors can be composed. There are no
    parameters.

    Returns:
        The bijector.

    Raises:
        ConfigurationError: the shapes have different numbers of entries, or none.
        EventShapeError: (when applied) the trailing axes are not the event's.

    Source: course 000, Q4(b); course 003, P4(b): a log-determinant is that of the map on flattened events, in any fixed
    order.
    """
    event_shape, latent_shape = tuple(event_shape), tuple(latent_shape)
    if min(event_shape, default=1) < 1 or min(latent_shape, default=1) < 1:
        raise ConfigurationError(f"reshape needs axes with at least one entry, given {event_shape} and {latent_shape}")
    if math.prod(event_shape) != math.prod(latent_shape):
        raise ConfigurationError(
            f"reshape keeps every entry, given {event_shape} with {math.prod(event_shape)} entries and "
            f"{latent_shape} with {math.prod(latent_shape)}"
        )
    return _rearrange(
        "reshape",
        event_shape,
        latent_shape,
        lambda x, batch_shape: x.reshape(*batch_shape, *latent_shape),
        lambda z, batch_shape: z.reshape(*batch_shape, *event_shape),
    )


def squeeze(event_shape: tuple[int, ...]) -> Bijector:
    """Images (H, W, C) to (H/2, W/2, 4 C), turning each 2×2 block of pixels into one pixel,  log|det ∂z/∂x| = 0.

    z[h, w, 4 c + 2 i + j] = x[2 h + i, 2 w + j, c]: the four sub-pixels of a channel lie side by side, in the order of
    Glow and of PyTorch's `pixel_unshuffle`. There are no parameters.

    Returns:
        The bijector.

    Raises:
        ConfigurationError: the event is not an image, or its height or width is odd.
        EventShapeError: (when applied) the trailing axes are not the event's.

    Source: Dinh, Sohl-Dickstein, Bengio, "Density estimation using Real NVP", 2016, section 3.6.
    """
    if len(event_shape) != 3 or min(event_shape) < 1:
        raise ConfigurationError(f"squeeze acts on images (height, width, channels), given {event_shape}")
    height, width, channels = event_shape
    if height % 2 or width % 2:
        raise ConfigurationError(f"squeeze halves an image's height and width, which must be even, given {event_shape}")
    latent_shape = (height // 2, width // 2, 4 * channels)

    def to_blocks(x: jax.Array, batch_shape: tuple[int, ...]) -> jax.Array:
        blocks = x.reshape(*batch_shape, height // 2, 2, width // 2, 2, channels)
        return jnp.moveaxis(blocks, (-4, -2), (-2, -1)).reshape(*batch_shape, *latent_shape)

    def from_blocks(z: jax.Array, batch_shape: tuple[int, ...]) -> jax.Array:
        blocks = z.reshape(*batch_shape, height // 2, width // 2, channels, 2, 2)
        return jnp.moveaxis(blocks, (-2, -1), (-4, -2)).reshape(*batch_shape, height, width, channels)

    return _rearrange("squeeze", (height, width, channels), latent_shape, to_blocks, from_blocks)


def _rearrange(
    name: str, event_shape: tuple[int, ...], latent_shape: tuple[int, ...], there: Rearrangement, back: Rearrangement
) -> Bijector:
    """A map that moves entries and changes none, so that its log-determinant is 0."""

    def forward(params: Params, x: jax.Array, context: jax.Array | None = None) -> tuple[jax.Array, jax.Array]:
        del params, context
        batch_shape = check_event(x, event_shape, name)
        return there(x, batch_shape), jnp.zeros(batch_shape, x.dtype)

    def inverse(params: Params, z: jax.Array, context: jax.Array | None = None) -> tuple[jax.Array, jax.Array]:
        del params, context
        batch_shape = check_event(z, latent_shape, name)
        return back(z, batch_shape), jnp.zeros(batch_shape, z.dtype)

    return Bijector(no_params, forward, inverse, len(event_shape), latent_event_ndims=len(latent_shape))
