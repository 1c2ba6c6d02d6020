"""What a layer of a sequential network is: a frozen description that can be read, compared and hashed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mathdnn_jax.errors import ConfigurationError, EventShapeError, ImageError

Shape = tuple[int, ...]
Sizes = int | tuple[int, ...]
Values = Mapping[str, Mapping[str, jax.Array]]
"""A layer's own arrays: {collection: {name: array}}, for example {"params": {"kernel": …, "bias": …}}."""


class Slot(NamedTuple):
    """An array that a layer keeps: its shape, and the initialiser (key, shape, dtype) → array that first fills it.

    An optional one is there after `init`, and may be absent from variables that came from elsewhere.
    """

    shape: Shape
    initialize: Callable[..., jax.Array]
    optional: bool = False


class Layer:
    """One layer as a plain value: what it is, never what it has learnt. Subclasses are frozen dataclasses.

    Shapes here are those of one event, without batch axes: (H, W, C) for an image, (C,) for a vector.
    """

    @property
    def kind(self) -> str:
        """The name of the description's class, as reports state it."""
        return type(self).__name__

    @property
    def event_ndims(self) -> int | None:
        """How many trailing axes make one event where the layer fixes that, None where any number will do."""
        return None

    def output_shape(self, input_shape: Shape) -> Shape:
        """The shape of an output event.

        Raises:
            EventShapeError, ImageError: the layer takes no events of this shape.
        """
        return input_shape

    def slots(self, input_shape: Shape) -> dict[str, dict[str, Slot]]:
        """The arrays that the layer keeps, by collection ("params", "batch_stats") and name."""
        del input_shape
        return {}

    def apply(
        self, values: Values, x: jax.Array, *, train: bool = False, key: jax.Array | None = None
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """X (batch, *event) → (output (batch, *output event), the new `batch_stats`, empty where there are none)."""
        raise NotImplementedError


def sizes(value: Any, ndims: int, what: str, least: int = 1) -> Shape:
    """A whole number for every spatial axis; one number stands for all of them.

    Raises:
        ConfigurationError: it is none, or one is less than `least`.
    """
    given = tuple(value) if isinstance(value, Iterable) and not isinstance(value, str) else (value,) * ndims
    if len(given) != ndims or not all(isinstance(n, (int, np.integer)) and not isinstance(n, bool) for n in given):
        raise ConfigurationError(f"{what} is one whole number, or {ndims} of them, given {value!r}")
    if any(n < least for n in given):
        raise ConfigurationError(f"{what} is at least {least}, given {value!r}")
    return tuple(int(n) for n in given)


def whole(value: Any, what: str, least: int = 1) -> int:
    """One whole number, as `sizes` checks it."""
    return sizes(value, 1, what, least)[0]


def check_spatial(input_shape: Shape, ndims: int, kind: str) -> Shape:
    """The spatial part of an event (…, channels) that must have `ndims` spatial axes.

    Raises:
        EventShapeError: it has not.
    """
    if len(input_shape) != ndims + 1:
        raise EventShapeError(
            f"{kind} takes events of {ndims} spatial axes and then the channels, given events of shape {input_shape}"
        )
    return input_shape[:-1]


def windows(spatial: Shape, kernel: Shape, stride: Shape, padding: Iterable[tuple[int, int]], kind: str) -> Shape:
    """How many windows fit along each axis: ⌊(n + p_low + p_high − k)/s⌋ + 1, k being the dilated extent.

    Raises:
        ImageError: not one fits.
    """
    padded = tuple(n + low + high for n, (low, high) in zip(spatial, padding, strict=True))
    if any(n < k for n, k in zip(padded, kernel, strict=True)):
        raise ImageError(
            f"{kind} looks at {_extent(kernel)} pixels at once, the image that reaches it has {_extent(spatial)}"
            f"{'' if padded == spatial else f', {_extent(padded)} with its padding'}: images must be larger"
        )
    return tuple((n - k) // s + 1 for n, k, s in zip(padded, kernel, stride, strict=True))


def per_channel(input_shape: Shape, kind: str) -> int:
    """The number of channels of an event, its last axis.

    Raises:
        EventShapeError: the event is a single number.
    """
    if not input_shape:
        raise EventShapeError(f"{kind} acts on the last axis of an event, given events without axes")
    return input_shape[-1]


def zeros(key: Any, shape: Shape, dtype: Any = jnp.float32) -> jax.Array:
    """An initialiser that needs no key."""
    del key
    return jnp.zeros(shape, dtype)


def ones(key: Any, shape: Shape, dtype: Any = jnp.float32) -> jax.Array:
    """An initialiser that needs no key."""
    del key
    return jnp.ones(shape, dtype)


def _extent(lengths: Shape) -> str:
    return " x ".join(map(str, lengths))
