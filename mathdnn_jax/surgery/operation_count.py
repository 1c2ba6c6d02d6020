"""The cost of a network, derived from its shapes alone."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any, NamedTuple

from mathdnn_jax.nets import (
    AvgPool,
    BatchNorm,
    Conv,
    ConvTranspose,
    Dense,
    FrequencyConv,
    Layer,
    ScaleShift,
    Sequential,
    SignBias,
)
from mathdnn_jax.nets.shapes import Shape
from mathdnn_jax.surgery.receptive_field import receptive_fields


class LayerCount(NamedTuple):
    """The cost of one layer for one event, and its receptive field and stride (see `receptive_fields`)."""

    layer: str
    kind: str
    output_shape: Shape
    multiplications: int
    additions: int
    parameters: int
    activations: int
    receptive_field: tuple[int, ...]
    stride: tuple[Fraction, ...]

    @property
    def operations(self) -> int:
        """The number of multiplications and additions."""
        return self.multiplications + self.additions


class OperationCount(NamedTuple):
    """The cost of a network for one event of `input_shape`, layer by layer."""

    input_shape: Shape
    layers: tuple[LayerCount, ...]

    @property
    def operations(self) -> int:
        """The multiplications and additions of all layers."""
        return sum(entry.operations for entry in self.layers)

    @property
    def convolution_operations(self) -> int:
        """The operations of convolutions, also transposed ones and those in the frequency domain."""
        return sum(
            entry.operations for entry in self.layers if entry.kind in ("Conv", "ConvTranspose", "FrequencyConv")
        )

    @property
    def dense_operations(self) -> int:
        """The operations of dense layers."""
        return sum(entry.operations for entry in self.layers if entry.kind == "Dense")

    @property
    def parameters(self) -> int:
        """The number of entries in the collection `params`."""
        return sum(entry.parameters for entry in self.layers)

    @property
    def activations(self) -> int:
        """The number of entries in the outputs of all layers."""
        return sum(entry.activations for entry in self.layers)

    def as_dict(self) -> dict[str, Any]:
        """Return the count as a JSON-serialisable dict; a stride that is not whole is written as a fraction, "1/2"."""
        names = ("operations", "convolution_operations", "dense_operations", "parameters", "activations")
        totals = {name: getattr(self, name) for name in names}
        layers = [
            {
                **entry._asdict(),
                "output_shape": list(entry.output_shape),
                "operations": entry.operations,
                "receptive_field": list(entry.receptive_field),
                "stride": [int(j) if j.denominator == 1 else str(j) for j in entry.stride],
            }
            for entry in self.layers
        ]
        return {"input_shape": list(self.input_shape), **totals, "layers": layers}

    def describe(self) -> str:
        """Return the count as a plain-text table."""
        rows: list[tuple[str, ...]] = [
            ("layer", "kind", "output", "operations", "parameters", "activations", "sees", "stride")
        ]
        rows += [
            (
                *(entry.layer, entry.kind, _joined(entry.output_shape)),
                *(f"{n:,}" for n in (entry.operations, entry.parameters, entry.activations)),
                *(_joined(entry.receptive_field) or "-", _joined(entry.stride) or "-"),
            )
            for entry in self.layers
        ]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [
            "  ".join(
                f"{cell:<{width}}" if k < 3 else f"{cell:>{width}}"
                for k, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in rows
        ]
        return "\n".join(
            [
                *lines,
                f"operations   {self.operations:,} = {self.convolution_operations:,} in convolutions + "
                f"{self.dense_operations:,} in dense layers + "
                f"{self.operations - self.convolution_operations - self.dense_operations:,} elsewhere",
                f"parameters   {self.parameters:,}",
                f"activations  {self.activations:,}",
            ]
        )


def count_operations(network: Sequential, input_shape: Shape) -> OperationCount:
    """Count the multiplications and additions for one event of `input_shape` exactly; nothing is computed.

    An output of a convolution or dense layer with n inputs takes n multiplications and n − 1 additions, and one more
    addition for the bias, hence 2 n operations. Padded zeros count like pixels. A transposed convolution takes one
    multiplication for each pixel and tap that meet inside the output. A batch norm in eval mode and a `ScaleShift` take
    one of each per entry, a `SignBias` one addition, and mean pooling over k pixels k − 1 additions and one
    multiplication. A `FrequencyConv` takes 4 of each for the complex product of a tile's frequency, an input channel
    and an output channel; its transforms are not counted. Comparisons (ReLU, max pooling) and transcendental functions
    are not counted either.

    The count also has parameters (the entries of `params`, without running statistics), activations (the size of each
    layer's output), and the receptive field and stride from `receptive_fields`.

    Returns:
        The count of each layer and their sums.

    Raises:
        EventShapeError, ImageError: The network does not take such events; the message names the layer.

    Source: course 004, P2, whose AlexNet has 1,311,133,056 operations in convolutions and 117,243,904 in linear layers.

    Example:
        >>> import mathdnn_jax as mj
        >>> count = mj.count_operations(mj.small_net(), (32, 32, 3))
        >>> count.operations, count.parameters
        (39245824, 16793370)
    """
    shapes = network.output_shapes(input_shape)
    views = receptive_fields(network, input_shape)
    counts = []
    before = tuple(input_shape)
    for name, layer in network.layers:
        after = shapes[name]
        parameters = sum(math.prod(slot.shape) for slot in layer.slots(before).get("params", {}).values())
        costs = _costs(layer, before, after)
        counts.append(LayerCount(name, layer.kind, after, *costs, parameters, math.prod(after), *views[name]))
        before = after
    return OperationCount(tuple(input_shape), tuple(counts))


def _costs(layer: Layer, before: Shape, after: Shape) -> tuple[int, int]:
    """Return (multiplications, additions)."""
    outputs = math.prod(after)
    if isinstance(layer, Conv):
        products = outputs * math.prod(layer.kernel) * (before[-1] // layer.groups)
        return products, products if layer.bias else products - outputs
    if isinstance(layer, FrequencyConv):
        products = 4 * math.prod(layer.tile_counts(before)) * layer.frequencies * before[-1] * layer.features
        return products, products + (outputs if layer.bias else 0)
    if isinstance(layer, Dense):
        products = outputs * before[-1]
        return products, products if layer.bias else products - outputs
    if isinstance(layer, ConvTranspose):
        return _transposed_costs(layer, before, after)
    if isinstance(layer, BatchNorm | ScaleShift):
        return outputs, outputs
    if isinstance(layer, SignBias):
        return 0, outputs
    if isinstance(layer, AvgPool):
        return outputs, outputs * (math.prod(layer.kernel) - 1)
    return 0, 0


def _transposed_costs(layer: ConvTranspose, before: Shape, after: Shape) -> tuple[int, int]:
    meetings, reached = 1, 1
    for axis, (n, m) in enumerate(zip(before[:-1], after[:-1], strict=True)):
        s, d, p = layer.strides[axis], layer.dilations[axis], layer.crops[axis]
        places = [i * s + t * d - p for i in range(n) for t in range(layer.kernel[axis])]
        inside = [place for place in places if 0 <= place < m]
        meetings *= len(inside)
        reached *= len(set(inside))
    products = meetings * (before[-1] // layer.groups) * layer.features
    return products, products if layer.bias else products - reached * layer.features


def _joined(lengths: tuple[Any, ...]) -> str:
    return " x ".join(map(str, lengths))
