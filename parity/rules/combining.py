"""Rules whose target comes from two sources, or from a slice of a source."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from parity.rules.layouts import Shape
from parity.rules.table import Rule


def combine(rule: Rule, arrays: Sequence[np.ndarray]) -> np.ndarray:
    """Combine the arrays of a rule's sources into one.

    "sum" adds two biases. "weight_norm" is g v/‖v‖, with the norm over the axes along which g has length 1; it is
    computed in float64 and rounded once. PyTorch rounds three times, and may differ by a few ulps.

    Source: Salimans, Kingma, 2016; `torch.nn.utils.weight_norm`.
    """
    if rule.combine == "sum":
        first, second = arrays
        total: np.ndarray = first + second
        return total
    if rule.combine == "weight_norm":
        g, v = (array.astype(np.float64) for array in arrays)
        weight: np.ndarray = (g * v / _norm(v, g.shape)).astype(arrays[1].dtype)
        return weight
    return arrays[0]


def part_of(array: np.ndarray, rule: Rule) -> np.ndarray:
    """Take the rule's slice along the first axis."""
    k, count = rule.part
    if count == 1:
        return array
    size = len(array) // count
    return array[k * size : (k + 1) * size]


def separate(rule: Rule, array: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Yield (key, array) for every source, so that they combine to `array`: (‖w‖, w) for a weight norm, else (b, 0)."""
    if rule.combine == "weight_norm":
        g, v = rule.sources
        shape = (len(array), *(1,) * (array.ndim - 1))
        yield g, _norm(array.astype(np.float64), shape).astype(array.dtype)
        yield v, array
        return
    yield rule.sources[0], array
    for key in rule.sources[1:]:
        yield key, np.zeros_like(array)


def source_shapes(rule: Rule, shape: Shape) -> dict[str, tuple[Shape, ...]]:
    """Return {source key: the shapes it may have}, given the shape of the rule's slice of their combination."""
    whole = (shape[0] * rule.part[1], *shape[1:]) if shape else shape
    if rule.combine == "weight_norm":
        g, v = rule.sources
        scales = [tuple(n if axis == kept else 1 for axis, n in enumerate(whole)) for kept in range(len(whole))]
        return {g: (*scales, ()), v: (whole,)}
    return dict.fromkeys(rule.sources, (whole,))


def _norm(v: np.ndarray, shape: Shape) -> np.ndarray:
    if not shape:
        return np.asarray(np.sqrt(np.square(v).sum()))
    axes = tuple(axis for axis, n in enumerate(shape) if n == 1)
    norm: np.ndarray = np.sqrt(np.square(v).sum(axes, keepdims=True))
    return norm
