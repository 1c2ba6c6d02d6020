"""The interface of a distribution without parameters, such as the prior of a flow."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax

from mathdnn_jax.errors import EventShapeError


class Distribution(NamedTuple):
    """A probability density on events of a fixed shape.

    - `log_prob(x) -> log p(x)` in nats: the trailing axes of x are the event, and the result has the batch shape;
    - `sample(key, shape, dtype) -> x` of shape `shape + event_shape`;
    - `event_shape`: the shape of an event.
    """

    log_prob: Callable[[jax.Array], jax.Array]
    sample: Callable[[jax.Array, tuple[int, ...], jax.typing.DTypeLike], jax.Array]
    event_shape: tuple[int, ...]


def check_trailing_axes(x: jax.Array, event_shape: tuple[int, ...], name: str) -> None:
    """Check that the trailing axes of `x` are an event of the distribution called `name`.

    Raises:
        EventShapeError: They are not.
    """
    if x.ndim < len(event_shape) or x.shape[x.ndim - len(event_shape) :] != event_shape:
        raise EventShapeError(f"{name} is defined on events of shape {event_shape}, given an array of shape {x.shape}")
