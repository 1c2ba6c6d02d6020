"""Events in another shape."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

from mathdnn_jax.bijectors.bijector import Bijector, Params, check_event
from mathdnn_jax.errors import ConfigurationError


def reshape(event_shape: tuple[int, ...], latent_shape: tuple[int, ...]) -> Bijector:
    """Z is x with its entries in the same (C) order and another shape,  log|det ∂z/∂x| = 0.

    The two shapes may have different ranks, so that maps on images and maps on vectors compose. There are no
    parameters.

    Raises:
        ConfigurationError: the shapes hold different numbers of entries, or none.
        EventShapeError: (when applied) the trailing axes are not the event's.

    Source: seeds 000 Q4(b), 003 P4(b): a log-determinant is that of the map on flattened events, in any fixed order.
    """
    event_shape, latent_shape = tuple(event_shape), tuple(latent_shape)
    if min(event_shape, default=1) < 1 or min(latent_shape, default=1) < 1:
        raise ConfigurationError(f"reshape needs axes of at least one entry, given {event_shape} and {latent_shape}")
    if math.prod(event_shape) != math.prod(latent_shape):
        raise ConfigurationError(
            f"reshape keeps every entry: {event_shape} has {math.prod(event_shape)} of them, "
            f"{latent_shape} {math.prod(latent_shape)}"
        )

    def init(key: jax.Array) -> Params:
        del key
        return {}

    def forward(params: Params, x: jax.Array, context: jax.Array | None = None) -> tuple[jax.Array, jax.Array]:
        del params, context
        batch_shape = check_event(x, event_shape, "reshape")
        return x.reshape(*batch_shape, *latent_shape), jnp.zeros(batch_shape, x.dtype)

    def inverse(params: Params, z: jax.Array, context: jax.Array | None = None) -> tuple[jax.Array, jax.Array]:
        del params, context
        batch_shape = check_event(z, latent_shape, "reshape")
        return z.reshape(*batch_shape, *event_shape), jnp.zeros(batch_shape, z.dtype)

    return Bijector(init, forward, inverse, len(event_shape), latent_event_ndims=len(latent_shape))


def squeeze(event_shape: tuple[int, ...]) -> Bijector:
    """Images (H, W, C) to (H/2, W/2, 4 C), each 2×2 block of pixels to one pixel,  log|det ∂z/∂x| = 0.

    z[h, w, 4 c + 2 i + j] = x[2 h + i, 2 w + j, c]: the four sub-pixels of a channel lie side by side, the order of
    Glow and of PyTorch's `pixel_unshuffle`. There are no parameters.

    Raises:
        ConfigurationError: the event is no image, or its height or width is odd.
        EventShapeError: (when applied) the trailing axes are not the event's.

    Source: Dinh, Sohl-Dickstein, Bengio, "Density estimation using Real NVP", 2016, section 3.6.
    """
    if len(event_shape) != 3 or min(event_shape) < 1:
        raise ConfigurationError(f"squeeze acts on images (height, width, channels), given {event_shape}")
    height, width, channels = event_shape
    if height % 2 or width % 2:
        raise ConfigurationError(f"squeeze halves an image's height and width, which must be even, given {event_shape}")
    event_shape = (height, width, channels)
    latent_shape = (height // 2, width // 2, 4 * channels)

    def init(key: jax.Array) -> Params:
        del key
        return {}

    def forward(params: Params, x: jax.Array, context: jax.Array | None = None) -> tuple[jax.Array, jax.Array]:
        del params, context
        batch_shape = check_event(x, event_shape, "squeeze")
        blocks = x.reshape(*batch_shape, height // 2, 2, width // 2, 2, channels)
        z = jnp.moveaxis(blocks, (-4, -2), (-2, -1))
        return z.reshape(*batch_shape, *latent_shape), jnp.zeros(batch_shape, x.dtype)

    def inverse(params: Params, z: jax.Array, context: jax.Array | None = None) -> tuple[jax.Array, jax.Array]:
        del params, context
        batch_shape = check_event(z, latent_shape, "squeeze")
        blocks = z.reshape(*batch_shape, height // 2, width // 2, channels, 2, 2)
        x = jnp.moveaxis(blocks, (-2, -1), (-4, -2))
        return x.reshape(*batch_shape, *event_shape), jnp.zeros(batch_shape, z.dtype)

    return Bijector(init, forward, inverse, event_ndims=3)
