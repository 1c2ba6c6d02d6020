"""Turns dense heads into convolutions, so that a network slides over larger images."""

from __future__ import annotations

import math
from typing import Any

import jax
import numpy as np

from mathdnn_jax.errors import ConfigurationError, EventShapeError
from mathdnn_jax.nets import Conv, ConvTranspose, Dense, Flatten, Pad, Sequential
from mathdnn_jax.nets.shapes import Shape
from mathdnn_jax.surgery.layer_list import Item, LayerList, Variables, on_device
from mathdnn_jax.surgery.report import SurgeryReport


def dense_to_conv(
    network: Sequential, variables: Variables, input_shape: Shape | None = None
) -> tuple[Sequential, dict[str, Any], SurgeryReport]:
    """Return the same network with convolutions instead of the dense layers after its Flatten.

    The first dense layer after a Flatten of (h, w, C) becomes a convolution whose kernel is its matrix, viewed as
    (h, w, C, O); the others become 1 × 1 convolutions, and the Flatten is removed. On events of `input_shape` the
    output (1, 1, classes) is the old output (classes,). On a larger image the output is a map. If no earlier layer
    pads, its entry at (i, j) is the old network's output on the patch of `input_shape` that starts at (i s, j s), where
    s is the product of the strides.

    A matrix after `Flatten("last")` is not copied: the kernel shares its memory if the array is on a CPU or on the
    host. After `Flatten("first")` its rows are reordered, which takes one copy.

    Args:
        network: A network in which a Flatten comes before a dense layer.
        variables: Its variables.
        input_shape: An event of the size that the network was built for, such as (32, 32, 3). None assumes that the
            image that reaches the Flatten is square.

    Returns:
        (network, variables, report). The inputs are not changed.

    Raises:
        ConfigurationError: There is no dense layer after a Flatten, or no square fits.
        EventShapeError, ImageError: The network was not built for `input_shape`.
        ParameterStructureError: The variables do not belong to the network.

    Source: course 000, Q2; course 004, P5; Lin, Chen, Yan, "Network in network", 2013.

    Example:
        >>> import jax, mathdnn_jax as mj
        >>> net = mj.Sequential(flatten=mj.nets.Flatten(), head=mj.nets.Dense(10))
        >>> variables = jax.jit(net.init)(jax.random.key(0), jax.numpy.ones((1, 8, 8, 3)))
        >>> sliding, new_variables, report = mj.dense_to_conv(net, variables, (8, 8, 3))
        >>> sliding.apply(new_variables, jax.numpy.ones((1, 12, 14, 3))).shape
        (1, 5, 7, 10)
    """
    layers = LayerList(network, variables)
    at = next((k for k, item in enumerate(layers.items) if isinstance(item.layer, Flatten)), None)
    dense = [] if at is None else [item for item in layers.items[at + 1 :] if isinstance(item.layer, Dense)]
    if at is None or not dense:
        raise ConfigurationError("this network has no dense layer after a Flatten, which dense_to_conv needs")
    between = [item for item in layers.items[at + 1 : layers.index(dense[0])] if item.params or item.stats]
    if between:
        raise ConfigurationError(
            f"dense_to_conv cannot slide {between[0].name}, a {between[0].layer.kind} with separate entries for each "
            f"pixel, between Flatten and {dense[0].name}; remove_batch_norm folds it into {dense[0].name}"
        )
    flatten, first = layers.items[at], dense[0]
    spatial, channels, how = _image_before(network, flatten, first, input_shape)
    _to_convolution(first, flatten, spatial, channels)
    for layer in dense[1:]:
        _to_pixelwise(layer, len(spatial))
    for item in [item for item in layers.items[at:] if isinstance(item.layer, Flatten)]:
        item.note("removed", f"the convolution {first.name} sees the whole {how} image", first.name)
        layers.remove(item)
    for item in layers.items[:at]:
        if _pads(item):
            item.note("kept", "it pads, so larger images give other outputs than patches, whose borders are padded too")
    return layers.assemble("dense_to_conv")


def _image_before(network: Sequential, flatten: Item, first: Item, input_shape: Shape | None) -> tuple[Shape, int, str]:
    rows = int(np.shape(first.params["kernel"])[0])
    if input_shape is not None:
        shapes = {"": tuple(input_shape), **network.output_shapes(input_shape)}
        names = list(shapes)
        *spatial, channels = shapes[names[names.index(flatten.name) - 1]]
        if math.prod(spatial) * channels != rows:
            raise EventShapeError(
                f"layer {first.name!r} has {rows} inputs, events of shape {tuple(input_shape)} give it "
                f"{' x '.join(map(str, (*spatial, channels)))}; input_shape is the size that the network was built for"
            )
        return tuple(spatial), channels, " x ".join(map(str, spatial))
    before = list(network.layers)[: [name for name, _ in network.layers].index(flatten.name)]
    known = [layer.features for _, layer in before if isinstance(layer, Conv | ConvTranspose | Dense)]
    if not known:
        raise ConfigurationError("the number of channels that reach the Flatten is unknown: pass input_shape")
    side = math.isqrt(rows // known[-1])
    if side * side * known[-1] != rows:
        raise ConfigurationError(
            f"layer {first.name!r} has {rows} inputs, which is not a square image of {known[-1]} channels: "
            f"pass input_shape"
        )
    return (side, side), known[-1], f"{side} x {side} (assumed to be square)"


def _to_convolution(item: Item, flatten: Item, spatial: Shape, channels: int) -> None:
    dense = item.layer
    if not isinstance(dense, Dense) or not isinstance(flatten.layer, Flatten):
        raise TypeError(f"{item.name} is not a dense layer after a Flatten")
    kernel = item.params["kernel"]
    if flatten.layer.channels == "last":
        kernel = _reshaped(kernel, (*spatial, channels, dense.features))
        how = "its matrix unchanged in memory"
    else:
        kernel = np.asarray(kernel).reshape(channels, *spatial, dense.features)
        kernel = on_device(np.ascontiguousarray(np.moveaxis(kernel, 0, -2)))
        how = "its rows reordered"
    item.params["kernel"] = kernel
    item.layer = Conv(dense.features, spatial, bias=dense.bias)
    item.note("changed", f"a {' x '.join(map(str, spatial))} convolution, {how}", flatten.name)


def _to_pixelwise(item: Item, ndims: int) -> None:
    dense = item.layer
    if not isinstance(dense, Dense):
        raise TypeError(f"{item.name} is not a dense layer")
    kernel = item.params["kernel"]
    item.params["kernel"] = _reshaped(kernel, (*(1,) * ndims, *np.shape(kernel)))
    item.layer = Conv(dense.features, (1,) * ndims, bias=dense.bias)
    item.note("changed", f"a {' x '.join('1' * ndims)} convolution")


def _reshaped(array: Any, shape: Shape) -> Any:
    """Return an array of another shape that shares the memory if possible; jax.numpy.reshape outside jit copies."""
    if isinstance(array, np.ndarray):
        return array.reshape(shape)
    if set(array.devices()) == set(jax.devices("cpu")[:1]):
        return on_device(np.asarray(array).reshape(shape))
    return array.reshape(shape)


def _pads(item: Item) -> bool:
    layer = item.layer
    pairs = layer.padding if isinstance(layer, Pad) else getattr(layer, "pads", ())
    return any(low or high for low, high in pairs)
