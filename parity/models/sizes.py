"""Reads a model's hyperparameters off the shapes of its arrays."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from parity.errors import WrongModelError
from parity.rules.layouts import LAYOUTS, Shape
from parity.rules.table import Rule

Shapes = Mapping[str, Shape]

RANKS = {"linear": 2, "flattened": 2, "convolution": 4, "transposed_convolution": 4, "counter": 0}
"""The number of axes of a leaf in each layout; the convolutions of the named models are all two-dimensional."""


class Read(NamedTuple):
    """A hyperparameter, and the (source key, axis) pairs that each show it."""

    size: str
    places: Sequence[tuple[str, int]]


def read_sizes(model: str, wanted: Iterable[Read], shapes: Shapes, names: Iterable[str]) -> dict[str, int]:
    """Read hyperparameters off shapes; where arrays contradict one another, the most frequent answer is taken.

    The conversion then reports the odd one out as the mistake.

    Raises:
        WrongModelError: no array shows one of them.
    """
    found = {}
    for size, places in wanted:
        seen = [shapes[key][axis] for key, axis in places if key in shapes and axis < len(shapes[key])]
        if not seen:
            keys = ", ".join(dict.fromkeys(key for _, places in wanted for key, _ in places))
            raise wrong_model(f"this is not a {model}: expected arrays such as {keys}", names)
        found[size] = most_frequent(seen)
    return found


def pytorch_shapes(rules: Iterable[Rule], flat: Mapping[str, Any]) -> dict[str, Shape]:
    """Return {source key: shape} for the leaves of a parameter tree that have the rank expected of them."""
    shapes = {}
    for rule in rules:
        leaf = np.shape(flat[rule.target]) if rule.target in flat else None
        if leaf is not None and len(leaf) == RANKS.get(rule.layout, len(leaf)):
            # The options follow from the sizes that are being read; with 1 for each, a layout fits any shape.
            shape = LAYOUTS[rule.layout].source_shape(leaf, dict.fromkeys(rule.options, 1))
            assert shape is not None
            shapes[rule.sources[0]] = shape
    return shapes


def most_frequent(values: Sequence[int]) -> int:
    """Return the value that occurs most often, the first of several."""
    return Counter(values).most_common(1)[0][0]


def wrong_model(message: str, names: Iterable[str]) -> WrongModelError:
    """Return an error that also says which names were found."""
    names = list(names)
    shown = ", ".join(names[:6]) + (f", … ({len(names)} in all)" if len(names) > 6 else "")
    return WrongModelError(f"{message}; found {shown or 'nothing'}")
