"""Events and batch axes: the trailing axes of an array are one event, all axes before them are batch axes."""

from __future__ import annotations

import operator
from collections.abc import Sequence

import jax

from mathdnn_jax.errors import ConfigurationError, EventShapeError

Shape = int | Sequence[int]
"""The batch shape of a sample: a tuple, or a number n for (n,)."""


def batch_shape_of(shape: Shape) -> tuple[int, ...]:
    """Return the batch shape of a sample as a tuple; the number n stands for (n,).

    Raises:
        ConfigurationError: It is neither a whole number nor a sequence of them, or one is negative.
    """
    try:
        axes = tuple(operator.index(axis) for axis in (shape if isinstance(shape, Sequence) else (shape,)))
    except TypeError as error:
        raise ConfigurationError(
            f"the shape of a sample is a whole number or a tuple of them, such as 10 or (2, 5); given {shape!r} "
            f"(under jit, name the argument in static_argnums)"
        ) from error
    if any(axis < 0 for axis in axes):
        raise ConfigurationError(f"the shape of a sample has no negative axes; given {shape!r}")
    return axes


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
