"""Rules whose target comes from several sources, or from a slice of a source."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from parity.errors import NonFiniteWeightsError
from parity.rules.layouts import Shape
from parity.rules.table import Rule

ALIGNED = 0.999
"""The least cosine of the angle between W v and u of a spectral norm."""


def combine(rule: Rule, arrays: Sequence[np.ndarray]) -> np.ndarray:
    """Combine the arrays of a rule's sources into one.

    "sum" adds two biases. "weight_norm" is g v/‖v‖, with the norm over the axes along which g has length 1, and
    "spectral_norm" is W/(uᵀ W v), with W as a matrix whose rows are its outputs; both are computed in float64 and
    rounded once. PyTorch rounds every operation, and may differ by a few ulps.

    Source: Salimans, Kingma, 2016; Miyato, Kataoka, Koyama, Yoshida, 2018; `torch.nn.utils`.
    """
    if rule.combine == "sum":
        first, second = arrays
        total: np.ndarray = first + second
        return total
    if rule.combine == "weight_norm":
        g, v = (array.astype(np.float64) for array in arrays)
        weight: np.ndarray = (g * v / _norm(v, g.shape)).astype(arrays[1].dtype)
        return weight
    if rule.combine == "spectral_norm":
        whole, u, v = (array.astype(np.float64) for array in arrays)
        divided: np.ndarray = (whole / (u @ _turned(rule, whole, u, v) @ v)).astype(arrays[0].dtype)
        return divided
    return arrays[0]


def part_of(array: np.ndarray, rule: Rule) -> np.ndarray:
    """Take the rule's slice along the first axis."""
    k, count = rule.part
    if count == 1:
        return array
    size = len(array) // count
    return array[k * size : (k + 1) * size]


def separate(rule: Rule, array: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Yield (key, array) for every source, so that they combine to `array`.

    They are (‖w‖, w) for a weight norm, (w, u/σ, v) for a spectral norm, else (b, 0).

    Raises:
        NonFiniteWeightsError: a weight of zeros has no such norm.
    """
    if rule.combine == "weight_norm":
        g, v = rule.sources
        shape = (len(array), *(1,) * (array.ndim - 1))
        norm = _norm(array.astype(np.float64), shape)
        if not norm.all():
            raise NonFiniteWeightsError(f"{rule.target} has a row of zeros, of which there is no weight norm")
        yield g, norm.astype(array.dtype)
        yield v, array
        return
    if rule.combine == "spectral_norm":
        left, right = _singular_vectors(_rows(array.astype(np.float64), _axis(rule)), rule.target)
        yield from zip(rule.sources, (array, left.astype(array.dtype), right.astype(array.dtype)), strict=True)
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
    if rule.combine == "spectral_norm":
        weight, u, v = rule.sources
        # PyTorch's default first; another axis may be chosen there.
        rows = [whole[axis] for axis in dict.fromkeys((_axis(rule), *range(len(whole))))]
        return {weight: (whole,), u: tuple((n,) for n in rows), v: tuple((math.prod(whole) // n,) for n in rows)}
    return dict.fromkeys(rule.sources, (whole,))


def _norm(v: np.ndarray, shape: Shape) -> np.ndarray:
    if not shape:
        return np.asarray(np.sqrt(np.square(v).sum()))
    axes = tuple(axis for axis, n in enumerate(shape) if n == 1)
    norm: np.ndarray = np.sqrt(np.square(v).sum(axes, keepdims=True))
    return norm


def _axis(rule: Rule) -> int:
    """The axis of the outputs, PyTorch's default: the second of a transposed convolution, else the first."""
    return 1 if rule.layout == "transposed_convolution" else 0


def _rows(weight: np.ndarray, axis: int) -> np.ndarray:
    """The weight as a matrix with a row for each entry of an axis."""
    matrix: np.ndarray = np.moveaxis(weight, axis, 0).reshape(weight.shape[axis], -1)
    return matrix


def _turned(rule: Rule, weight: np.ndarray, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """The weight as a matrix W with a row for each entry of u, over PyTorch's default axis, or another of that length.

    The other is meant if W v is along u there and not here; a weight that was changed after u and v were computed shows
    it nowhere.
    """
    fitting = [k for k in dict.fromkeys((_axis(rule), *range(weight.ndim))) if weight.shape[k] == len(u)]

    def is_aligned(axis: int) -> bool:
        image = _rows(weight, axis) @ v
        return bool(abs(u @ image) > ALIGNED * np.sqrt(image @ image))

    return _rows(weight, next(filter(is_aligned, fitting), fitting[0]))


def _singular_vectors(matrix: np.ndarray, name: str) -> tuple[np.ndarray, np.ndarray]:
    """(u/σ, v) by power iteration in float64; uᵀ W v/σ is 1 up to rounding, however far it has converged."""
    v = matrix[np.square(matrix).sum(1).argmax()]
    if not v.any():
        raise NonFiniteWeightsError(f"{name} is zero, of which there is no spectral norm")
    for _ in range(20):
        u = matrix @ v
        u /= np.sqrt(u @ u)
        v = u @ matrix
        v /= np.sqrt(v @ v)
    return u / (u @ matrix @ v), v
