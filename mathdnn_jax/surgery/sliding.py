"""Fully connected heads as convolutions, so that a network slides over larger images."""

from __future__ import annotations

import math
from typing import Any

import jax
import numpy as np

from mathdnn_jax.errors import ConfigurationError, EventShapeError
from mathdnn_jax.nets import Conv, ConvTranspose, Dense, Flatten, Pad, Sequential
from mathdnn_jax.nets.layers.layer import Shape
from mathdnn_jax.surgery.layer_list import Bench, Item, Variables, on_device
from mathdnn_jax.surgery.report import SurgeryReport


def dense_to_conv(
    network: Sequential, variables: Variables, input_shape: Shape | None = None
) -> tuple[Sequential, dict[str, Any], SurgeryReport]:
    """Return the same network with convolutions for the dense layers behind its Flatten.

    The first dense layer behind a Flatten of (h, w, C) becomes a convolution whose kernel is its own matrix seen as
    (h, w, C, O), the others become 1 × 1 convolutions, the Flatten goes. On events of `input_shape` the output
    (1, 1, classes) is the old (classes,). On a larger image it is a map of them; where no layer before pads, the output
    at (i, j) is the old network's on the patch of `input_shape` that begins at (i s, j s), s being the product of the
    strides.

    A matrix behind `Flatten("last")` is not copied: the kernel is the same memory, where the array is on a CPU or on
    the host. Behind `Flatten("first")` its rows are put into their new order, which is one copy.

    Args:
        network: one in which a Flatten comes before a dense layer.
        variables: its variables.
        input_shape: an event of the size that the network was made for, such as (32, 32, 3). None takes the image that
            reaches the Flatten for a square.

    Raises:
        ConfigurationError: there is no dense layer behind a Flatten, or no square fits.
        EventShapeError, ImageError: `input_shape` is not what the network was made for.
        ParameterStructureError: the variables are not the network's.

    Source: seeds 000 Q2 and 004 P5; Lin, Chen, Yan, "Network in network", 2013.
    """
    bench = Bench(network, variables)
    at = next((k for k, item in enumerate(bench.items) if isinstance(item.layer, Flatten)), None)
    behind = [] if at is None else [item for item in bench.items[at + 1 :] if isinstance(item.layer, Dense)]
    if at is None or not behind:
        raise ConfigurationError("dense_to_conv needs a Flatten with a dense layer behind it; this network has none")
    between = [item for item in bench.items[at + 1 : bench.index(behind[0])] if item.params or item.stats]
    if between:
        raise ConfigurationError(
            f"dense_to_conv cannot slide {between[0].name}, a {between[0].layer.kind} with entries of its own for each "
            f"pixel, between Flatten and {behind[0].name}; remove_batch_norm folds it into {behind[0].name}"
        )
    flatten, first = bench.items[at], behind[0]
    spatial, channels, how = _image_at(network, flatten, first, input_shape)
    _slide(first, flatten, spatial, channels)
    for dense in behind[1:]:
        _to_pixelwise(dense, len(spatial))
    for item in [item for item in bench.items[at:] if isinstance(item.layer, Flatten)]:
        item.note("removed", f"the convolution {first.name} looks at the whole {how} image", first.name)
        bench.remove(item)
    for item in bench.items[:at]:
        if _pads(item):
            item.note("kept", "pads: on larger images outputs near the border only are the old network's on patches")
    return bench.assemble("dense_to_conv")


def _image_at(network: Sequential, flatten: Item, first: Item, input_shape: Shape | None) -> tuple[Shape, int, str]:
    rows = int(np.shape(first.params["kernel"])[0])
    if input_shape is not None:
        shapes = {"": tuple(input_shape), **network.output_shapes(input_shape)}
        names = list(shapes)
        *spatial, channels = shapes[names[names.index(flatten.name) - 1]]
        if math.prod(spatial) * channels != rows:
            raise EventShapeError(
                f"layer {first.name!r} has {rows} inputs, events of shape {tuple(input_shape)} give it "
                f"{' x '.join(map(str, (*spatial, channels)))}; input_shape is the size that the network was made for"
            )
        return tuple(spatial), channels, " x ".join(map(str, spatial))
    before = list(network.layers)[: [name for name, _ in network.layers].index(flatten.name)]
    known = [layer.features for _, layer in before if isinstance(layer, Conv | ConvTranspose | Dense)]
    if not known:
        raise ConfigurationError("no layer tells how many channels reach the Flatten: pass input_shape")
    side = math.isqrt(rows // known[-1])
    if side * side * known[-1] != rows:
        raise ConfigurationError(
            f"layer {first.name!r} has {rows} inputs, no square image of {known[-1]} channels: pass input_shape"
        )
    return (side, side), known[-1], f"{side} x {side} (taken for a square)"


def _slide(item: Item, flatten: Item, spatial: Shape, channels: int) -> None:
    dense = item.layer
    if not isinstance(dense, Dense) or not isinstance(flatten.layer, Flatten):
        raise TypeError(f"{item.name} is no dense layer behind a Flatten")
    kernel = item.params["kernel"]
    if flatten.layer.channels == "last":
        kernel = _reshaped(kernel, (*spatial, channels, dense.features))
        how = "the matrix as it lies in memory"
    else:
        kernel = np.asarray(kernel).reshape(channels, *spatial, dense.features)
        kernel = on_device(np.ascontiguousarray(np.moveaxis(kernel, 0, -2)))
        how = "its rows in the order of the image"
    item.params["kernel"] = kernel
    item.layer = Conv(dense.features, spatial, bias=dense.bias)
    item.note("changed", f"a {' x '.join(map(str, spatial))} convolution, {how}", flatten.name)


def _to_pixelwise(item: Item, ndims: int) -> None:
    dense = item.layer
    if not isinstance(dense, Dense):
        raise TypeError(f"{item.name} is no dense layer")
    kernel = item.params["kernel"]
    item.params["kernel"] = _reshaped(kernel, (*(1,) * ndims, *np.shape(kernel)))
    item.layer = Conv(dense.features, (1,) * ndims, bias=dense.bias)
    item.note("changed", f"a {' x '.join('1' * ndims)} convolution")


def _reshaped(array: Any, shape: Shape) -> Any:
    """The same memory in another shape where that can be had, which jax.numpy.reshape outside jit cannot."""
    if isinstance(array, np.ndarray):
        return array.reshape(shape)
    if set(array.devices()) == set(jax.devices("cpu")[:1]):
        return on_device(np.asarray(array).reshape(shape))
    return array.reshape(shape)


def _pads(item: Item) -> bool:
    layer = item.layer
    pairs = layer.padding if isinstance(layer, Pad) else getattr(layer, "pads", ())
    return any(low or high for low, high in pairs)
