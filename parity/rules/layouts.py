"""Changes of layout by name: how a PyTorch array becomes a JAX array, and how it comes back.

A layout only moves entries, so it is exact and has an exact inverse. Its `options` are the whole numbers that the
shapes alone do not determine: the channels of a flattened image, the groups of a transposed convolution.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

Shape = tuple[int, ...]
Options = Mapping[str, int]


class Layout(NamedTuple):
    """A change of layout and its inverse, each called with the array, the shape that it takes on, and the options.

    `source_shape` gives the shape of the source for that of the target, or None if this layout cannot result in it.
    """

    text: str
    to_target: Callable[[np.ndarray, Shape, Options], np.ndarray]
    to_source: Callable[[np.ndarray, Shape, Options], np.ndarray]
    source_shape: Callable[[Shape, Options], Shape | None]
    options: tuple[str, ...] = ()


def _linear(a: np.ndarray, shape: Shape, options: Options) -> np.ndarray:
    del shape, options
    return a.T


def _flattened(a: np.ndarray, shape: Shape, options: Options) -> np.ndarray:
    return a.reshape(len(a), options["channels"], -1).transpose(2, 1, 0).reshape(shape)


def _unflattened(a: np.ndarray, shape: Shape, options: Options) -> np.ndarray:
    return a.reshape(-1, options["channels"], shape[0]).transpose(2, 1, 0).reshape(shape)


def _flattened_shape(target: Shape, options: Options) -> Shape | None:
    return target[::-1] if len(target) == 2 and target[0] % options["channels"] == 0 else None


def _convolution(a: np.ndarray, shape: Shape, options: Options) -> np.ndarray:
    del shape, options
    return a.transpose(*range(2, a.ndim), 1, 0)


def _convolution_back(a: np.ndarray, shape: Shape, options: Options) -> np.ndarray:
    del shape, options
    return a.transpose(a.ndim - 1, a.ndim - 2, *range(a.ndim - 2))


def _convolution_shape(target: Shape, options: Options) -> Shape | None:
    del options
    return (target[-1], target[-2], *target[:-2]) if len(target) >= 3 else None


def _transposed(a: np.ndarray, shape: Shape, options: Options) -> np.ndarray:
    groups, ndim = options["groups"], a.ndim - 2
    turned = np.flip(a, tuple(range(2, a.ndim)))
    split = turned.reshape(groups, -1, *turned.shape[1:])  # (G, I/G, O/G, k…)
    return split.transpose(*range(3, 3 + ndim), 1, 0, 2).reshape(shape)


def _transposed_back(a: np.ndarray, shape: Shape, options: Options) -> np.ndarray:
    groups, ndim = options["groups"], a.ndim - 2
    split = a.reshape(*a.shape[:-1], groups, -1)  # (k…, I/G, G, O/G)
    joined = split.transpose(ndim + 1, ndim, ndim + 2, *range(ndim)).reshape(shape)
    return np.flip(joined, tuple(range(2, a.ndim)))


def _transposed_shape(target: Shape, options: Options) -> Shape | None:
    groups = options["groups"]
    if len(target) < 3 or target[-1] % groups:
        return None
    return (target[-2] * groups, target[-1] // groups, *target[:-2])


def _heads(target: Shape, options: Options) -> Shape | None:
    del options
    return (target[1] * target[2], target[0]) if len(target) == 3 else None


def _heads_out(target: Shape, options: Options) -> Shape | None:
    del options
    return (target[2], target[0] * target[1]) if len(target) == 3 else None


def _reshape(a: np.ndarray, shape: Shape, options: Options) -> np.ndarray:
    del options
    return a.reshape(shape)


def _same_shape(target: Shape, options: Options) -> Shape | None:
    del options
    return target


LAYOUTS: dict[str, Layout] = {
    "same": Layout("unchanged", _reshape, _reshape, _same_shape),
    "linear": Layout("(out, in) -> (in, out)", _linear, _linear, lambda t, _: t[::-1] if len(t) == 2 else None),
    "pointwise": Layout(
        "(out, in, 1, …) -> (in, out)",
        lambda a, shape, _: a.reshape(shape[::-1]).T,
        lambda a, shape, _: a.T.reshape(shape),
        lambda t, options: (*t[::-1], *(1,) * options["count"]) if len(t) == 2 else None,
        options=("count",),
    ),
    "flattened": Layout(
        "(out, C * H * W) -> (H * W * C, out)", _flattened, _unflattened, _flattened_shape, options=("channels",)
    ),
    "convolution": Layout("(out, in, k) -> (k, in, out)", _convolution, _convolution_back, _convolution_shape),
    "transposed_convolution": Layout(
        "(in, out, k) -> (k, in, out), rotated by 180 degrees",
        _transposed,
        _transposed_back,
        _transposed_shape,
        ("groups",),
    ),
    "heads_in": Layout(
        "(heads * size, in) -> (in, heads, size)",
        lambda a, shape, _: a.T.reshape(shape),
        lambda a, shape, _: a.reshape(len(a), -1).T.reshape(shape),
        _heads,
    ),
    "heads_out": Layout(
        "(out, heads * size) -> (heads, size, out)",
        lambda a, shape, _: a.T.reshape(shape),
        lambda a, shape, _: a.reshape(-1, a.shape[-1]).T.reshape(shape),
        _heads_out,
    ),
    "heads_bias": Layout(
        "(heads * size,) -> (heads, size)",
        _reshape,
        _reshape,
        lambda t, _: (t[0] * t[1],) if len(t) == 2 else None,
    ),
    "trailing_ones": Layout(
        "(n, 1, …) -> (n,)",
        _reshape,
        _reshape,
        lambda t, options: (*t, *(1,) * options["count"]),
        options=("count",),
    ),
    "leading_ones": Layout(
        "(1, …, n) -> (n,)",
        _reshape,
        _reshape,
        lambda t, options: (*(1,) * options["count"], *t),
        options=("count",),
    ),
    "counter": Layout(
        "int64 -> int32",
        lambda a, shape, _: a.astype(np.int32).reshape(shape),
        lambda a, shape, _: a.astype(np.int64).reshape(shape),
        _same_shape,
    ),
}
"""All layouts that a rule table can name."""
