"""Events and batch axes: the trailing axes of an array are one event, all axes before them are batch axes."""

from __future__ import annotations

import jax

from mathdnn_jax.errors import EventShapeError


def check_event(x: jax.Array, event_shape: tuple[int, ...], name: str) -> tuple[int, ...]:
    """Return the batch shape of `x` after checking that its trailing axes are `event_shape`.

    Args:
        x: The array.
        event_shape: The shape of one event.
        name: The map, model or distribution that takes the events, for the message.

    Raises:
        EventShapeError: The trailing axes have a different shape.
    """
    batch_ndims = x.ndim - len(event_shape)
    if batch_ndims < 0 or x.shape[batch_ndims:] != event_shape:
        raise EventShapeError(
            f"{name} acts on events of shape {event_shape}, given an array of shape {x.shape}; "
            f"its trailing axes must be the event, all axes before them are batch axes"
        )
    return x.shape[:batch_ndims]
