"""Layers on events with spatial axes, and how windows fit along them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

from mathdnn_jax.errors import EventShapeError, ImageError
from mathdnn_jax.nets.layers.layer import Layer
from mathdnn_jax.nets.shapes import Shape, Sizes, sizes


class Spatial(Layer):
    """A layer on events (n_1, …, n_r, C): r spatial axes, then the channels."""

    @property
    def spatial_ndims(self) -> int:
        """The number r of spatial axes."""
        raise NotImplementedError

    @property
    def event_ndims(self) -> int:
        """The spatial axes and the channels."""
        return self.spatial_ndims + 1

    def spatial_shape(self, input_shape: Shape) -> Shape:
        """(n_1, …, n_r) of an event (n_1, …, n_r, C).

        Raises:
            EventShapeError: The event does not have r spatial axes.
        """
        if len(input_shape) != self.spatial_ndims + 1:
            raise EventShapeError(
                f"{self.kind} got events of shape {input_shape}; expected events with {self.spatial_ndims} spatial "
                f"axes followed by the channels"
            )
        return input_shape[:-1]


class Windowed(Spatial):
    """A layer that moves a window over its events. Once built, its sizes are tuples with one entry per spatial axis."""

    kernel_size: Sizes
    stride: Sizes | None

    @property
    def kernel(self) -> Shape:
        """The window's extent along each spatial axis."""
        return cast(Shape, self.kernel_size)

    @property
    def strides(self) -> Shape:
        """The stride along each spatial axis."""
        return cast(Shape, self.stride)

    @property
    def spatial_ndims(self) -> int:
        """The number of the window's axes."""
        return len(self.kernel)


def set_sizes(layer: Layer, field: str, ndims: int | None = None, least: int = 1) -> None:
    """Replace a field of a frozen layer by a tuple with one number per spatial axis, while the layer is being built.

    Args:
        layer: The layer.
        field: The name of the field, which holds one number for all axes or one number per axis.
        ndims: The number of spatial axes. By default it is the number of the field's entries, and a single number
            stands for the two axes of an image.
        least: The smallest number allowed.

    Raises:
        ConfigurationError: The field does not hold such numbers.
    """
    value = getattr(layer, field)
    if ndims is None:
        value = (value,) * 2 if isinstance(value, int) else tuple(value)
        ndims = len(value)
    object.__setattr__(layer, field, sizes(value, ndims, field, least))


def windows(spatial: Shape, kernel: Shape, stride: Shape, padding: Iterable[tuple[int, int]], kind: str) -> Shape:
    """Return how many windows fit along each axis: ⌊(n + p_low + p_high − k)/s⌋ + 1, where k is the dilated extent.

    Raises:
        ImageError: Not a single window fits along some axis.
    """
    padded = tuple(n + low + high for n, (low, high) in zip(spatial, padding, strict=True))
    if any(n < k for n, k in zip(padded, kernel, strict=True)):
        with_padding = "" if padded == spatial else f" ({_extent(padded)} with its padding)"
        raise ImageError(
            f"{kind} got an image of {_extent(spatial)} pixels{with_padding}, which is smaller than its window of "
            f"{_extent(kernel)}; use larger images"
        )
    return tuple((n - k) // s + 1 for n, k, s in zip(padded, kernel, stride, strict=True))


def _extent(lengths: Shape) -> str:
    return " x ".join(map(str, lengths))
