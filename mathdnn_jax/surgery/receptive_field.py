"""Receptive fields: how much of the input each output sees, and how far apart neighbouring outputs look."""

from __future__ import annotations

import math
from collections.abc import Mapping
from fractions import Fraction
from typing import NamedTuple

from mathdnn_jax.nets import Conv, ConvTranspose, Dense, Flatten, FrequencyConv, Layer, Sequential, Upsample
from mathdnn_jax.nets.layers.layer import Shape
from mathdnn_jax.nets.layers.pooling import Pool


class View(NamedTuple):
    """The part of the input that a layer's outputs see, along each spatial axis of the input.

    - `receptive_field`: the greatest number of neighbouring pixels that one output sees; padding counts as pixels;
    - `stride`: the distance in pixels between what neighbouring outputs see, less than 1 after an upsampling.
    """

    receptive_field: tuple[int, ...]
    stride: tuple[Fraction, ...]


def receptive_fields(network: Sequential, input_shape: Shape) -> dict[str, View]:
    """Compute the receptive field and stride of each layer's outputs for events of `input_shape` (…, channels).

    A window of reach k = d (kernel − 1) + 1 and stride s adds (k − 1) j to the field r and multiplies the stride j by
    s. A transposed convolution adds ⌊(k − 1)/s⌋ j to r and divides j by s, and an upsampling by f divides j by f. A
    dense layer after a Flatten sees all positions.

    Returns:
        {layer: its view}.

    Raises:
        EventShapeError, ImageError: The network does not take such events.

    Source: Araujo, Norris, Sim, "Computing receptive fields of convolutional neural networks", 2019.

    Example:
        >>> import mathdnn_jax as mj
        >>> net = mj.Sequential(conv=mj.nets.Conv(4, 3), pool=mj.nets.MaxPool(2))
        >>> view = mj.surgery.receptive_fields(net, (32, 32, 3))["pool"]
        >>> view.receptive_field, [int(s) for s in view.stride]
        ((4, 4), [2, 2])
    """
    shapes: Mapping[str, Shape] = {"": tuple(input_shape), **network.output_shapes(input_shape)}
    spatial = len(input_shape) - 1
    fields, strides = [Fraction(1)] * spatial, [Fraction(1)] * spatial
    waiting: Shape | None = None
    views = {}
    before = ""
    for name, layer in network.layers:
        if isinstance(layer, Flatten):
            # A second Flatten receives vectors.
            waiting = shapes[before][:-1] or waiting
        elif isinstance(layer, Dense) and waiting is not None:
            fields = [r + (n - 1) * j for r, n, j in zip(fields, waiting, strides, strict=True)]
            waiting = (1,) * spatial
        else:
            steps = _steps(layer, spatial)
            fields = [r + grow * j for r, j, (grow, _) in zip(fields, strides, steps, strict=True)]
            strides = [j * factor for j, (_, factor) in zip(strides, steps, strict=True)]
        views[name] = View(tuple(math.ceil(r) for r in fields), tuple(strides))
        before = name
    return views


def _steps(layer: Layer, spatial: int) -> list[tuple[int, Fraction]]:
    """Return, for each axis, by how many strides the field grows and the factor of the stride."""
    if isinstance(layer, Conv):
        return [(k - 1, Fraction(s)) for k, s in zip(layer.reach, layer.strides, strict=True)]
    if isinstance(layer, FrequencyConv):
        return [(k - 1, Fraction(1)) for k in layer.kernel]
    if isinstance(layer, Pool):
        return [(k - 1, Fraction(s)) for k, s in zip(layer.kernel, layer.strides, strict=True)]
    if isinstance(layer, ConvTranspose):
        return [((k - 1) // s, Fraction(1, s)) for k, s in zip(layer.reach, layer.strides, strict=True)]
    if isinstance(layer, Upsample):
        return [(0, Fraction(1, f)) for f in layer.factors]
    return [(0, Fraction(1))] * spatial
