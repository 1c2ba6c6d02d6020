"""The description of one layer in a sequential network: an immutable value that can be read, compared and hashed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from mathdnn_jax.errors import EventShapeError
from mathdnn_jax.nets.shapes import Shape

Values = Mapping[str, Mapping[str, jax.Array]]
"""A layer's own arrays: {collection: {name: array}}, for example {"params": {"kernel": …, "bias": …}}."""


class Slot(NamedTuple):
    """An array that a layer keeps: its shape, and the initialiser (key, shape, dtype) → array that fills it at first.

    `init` also creates the optional ones, but variables from other sources may lack them.
    """

    shape: Shape
    initialize: Callable[..., jax.Array]
    optional: bool = False


class Layer:
    """The description of a layer: its kind and sizes, without any trained values. Subclasses are frozen dataclasses.

    Shapes are those of one event, without batch axes: (H, W, C) for an image, (C,) for a vector.
    """

    @property
    def kind(self) -> str:
        """The name of the layer's class, as it appears in reports."""
        return type(self).__name__

    @property
    def event_ndims(self) -> int | None:
        """The number of trailing axes that form one event, or None if the layer accepts any number."""
        return None

    def output_shape(self, input_shape: Shape) -> Shape:
        """The shape of an output event.

        Raises:
            EventShapeError, ImageError: The layer does not accept events of this shape.
        """
        return input_shape

    def slots(self, input_shape: Shape) -> dict[str, dict[str, Slot]]:
        """The arrays that the layer keeps, by collection ("params", "batch_stats") and name."""
        del input_shape
        return {}

    def apply(
        self, values: Values, x: jax.Array, *, train: bool = False, key: jax.Array | None = None
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """x (batch, *event) → (output (batch, *output event), the updated `batch_stats` or an empty dictionary)."""
        raise NotImplementedError


def per_channel(input_shape: Shape, kind: str) -> int:
    """The number of channels of an event, which is the size of its last axis.

    Raises:
        EventShapeError: The event is a single number.
    """
    if not input_shape:
        raise EventShapeError(f"{kind} got events without axes; it acts on the last axis of an event")
    return input_shape[-1]


def zeros(key: Any, shape: Shape, dtype: Any = jnp.float32) -> jax.Array:
    """An initialiser that returns zeros and ignores its key."""
    del key
    return jnp.zeros(shape, dtype)


def ones(key: Any, shape: Shape, dtype: Any = jnp.float32) -> jax.Array:
    """An initialiser that returns ones and ignores its key."""
    del key
    return jnp.ones(shape, dtype)
