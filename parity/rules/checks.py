"""Checks arrays against the names, shapes and dtypes expected of them, and reports all problems at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from parity.display import plain
from parity.errors import (
    ConversionError,
    MissingKeysError,
    NonFiniteWeightsError,
    ShapeMismatchError,
    UnexpectedKeysError,
    UnsupportedDtypeError,
)
from parity.rules.layouts import Shape


class Expected(NamedTuple):
    """The shape that an array must have, and the dtypes that it may have."""

    shape: Shape
    dtypes: Sequence[np.dtype]


def check_arrays(
    arrays: Mapping[str, np.ndarray],
    expected: Mapping[str, Expected],
    ignored: Iterable[str] = (),
    *,
    what: str,
) -> None:
    """Check that `arrays` has exactly the names of `expected` and the ignored ones, and that each array is sound.

    An array is sound if it has the expected shape and one of the expected dtypes, and if its entries are finite, or,
    where they are whole numbers, fit into int32. All problems of all arrays are collected before anything is raised.

    Raises:
        ConversionError: the subclass that belongs to the first problem, in the order missing, unexpected, shape,
            dtype, NaN.
    """
    ignored = set(ignored)
    problems: list[tuple[type[ConversionError], str]] = []
    problems += [(MissingKeysError, f"missing: {plain(n)} {e.shape}") for n, e in expected.items() if n not in arrays]
    absent = sorted(ignored - set(arrays))
    problems += [(MissingKeysError, f"listed as ignored, but not there: {plain(name)}") for name in absent]
    for name, array in arrays.items():
        if name not in expected and name not in ignored:
            problems.append((UnexpectedKeysError, f"unexpected: {plain(name)} {array.shape}"))
    for name, (shape, dtypes) in expected.items():
        if name in arrays:
            problems += _unsound(name, arrays[name], shape, dtypes)
    if problems:
        order = [
            MissingKeysError,
            UnexpectedKeysError,
            ShapeMismatchError,
            UnsupportedDtypeError,
            NonFiniteWeightsError,
        ]
        problems.sort(key=lambda problem: order.index(problem[0]))
        lines = "\n  ".join(message for _, message in problems)
        raise problems[0][0](f"{what} cannot be converted, {len(problems)} problem(s):\n  {lines}")


def _unsound(
    name: str, array: np.ndarray, shape: Shape, dtypes: Sequence[np.dtype]
) -> Iterator[tuple[type[ConversionError], str]]:
    if array.shape != shape:
        yield ShapeMismatchError, f"shape: {plain(name)} is {array.shape}, expected {shape}"
    if array.dtype not in dtypes:
        allowed = " or ".join(str(dtype) for dtype in dtypes)
        hint = "JAX_ENABLE_X64=1 keeps float64; dtype= of parity.convert converts floating-point types on purpose"
        hint = f" ({hint})" if any(dtype.kind == "f" for dtype in dtypes) else ""
        yield UnsupportedDtypeError, f"dtype: {plain(name)} is {array.dtype}, expected {allowed}{hint}"
    elif array.dtype.kind == "i":
        if (array < 0).any() or (array > np.iinfo(np.int32).max).any():
            yield UnsupportedDtypeError, f"range: {plain(name)} is {array}, expected a count that fits into int32"
    elif not (finite := np.isfinite(array)).all():
        count = array.size - int(finite.sum())
        where = tuple(int(i) for i in np.unravel_index(int(finite.argmin()), array.shape))
        yield NonFiniteWeightsError, f"not finite: {plain(name)} has {count} NaN or infinite entries, first at {where}"
