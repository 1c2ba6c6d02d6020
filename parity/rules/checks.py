"""Rule tables: which source array fills which target leaf, and how its layout changes on the way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from parity.errors import (
    ConversionError,
    DoublyUsedKeysError,
    MissingKeysError,
    NonFiniteWeightsError,
    RuleTableError,
    ShapeMismatchError,
    UnexpectedKeysError,
    UnsupportedDtypeError,
)

Shape = tuple[int, ...]


class Transform(NamedTuple):
    """A change of layout that only moves entries, so that it is exact and has an exact inverse.

    `source_shape` is the shape of the source array for that of the target leaf, whose rank is `ndim`, None being any.
    A `counter` is a whole number, int64 in PyTorch and int32 in JAX, which has no int64 by default; all others are
    floating.
    """

    name: str
    to_target: Callable[[np.ndarray], np.ndarray]
    to_source: Callable[[np.ndarray], np.ndarray]
    source_shape: Callable[[Shape], Shape]
    ndim: int | None = None
    counter: bool = False


SAME = Transform("same", lambda a: a, lambda a: a, lambda shape: shape)
TRANSPOSE = Transform("(out, in) -> (in, out)", np.transpose, np.transpose, lambda shape: shape[::-1], ndim=2)
DROP_ROW = Transform("(1, n) -> (n,)", lambda a: a[0], lambda a: a[None], lambda shape: (1, *shape), ndim=1)
CONVOLUTION = Transform(
    "(out, in, h, w) -> (h, w, in, out)",
    lambda a: a.transpose(2, 3, 1, 0),
    lambda a: a.transpose(3, 2, 0, 1),
    lambda shape: (shape[3], shape[2], shape[0], shape[1]),
    ndim=4,
)
TRANSPOSED_CONVOLUTION = Transform(
    "(in, out, h, w) -> (h, w, in, out), turned by 180 degrees",
    lambda a: a[:, :, ::-1, ::-1].transpose(2, 3, 0, 1),
    lambda a: a.transpose(2, 3, 0, 1)[:, :, ::-1, ::-1],
    lambda shape: (shape[2], shape[3], shape[0], shape[1]),
    ndim=4,
)
COUNTER = Transform(
    "int64 -> int32",
    lambda a: a.astype(np.int32),
    lambda a: a.astype(np.int64),
    lambda shape: shape,
    ndim=0,
    counter=True,
)


def flattened(channels: int, height: int, width: int) -> Transform:
    """A dense layer after a flattened image: the rows of its kernel are reordered from C, H, W to H, W, C.

    So the activation is flattened as it lies in memory, and inference pays nothing for the order of the checkpoint.
    """
    size = channels * height * width
    return Transform(
        f"(out, {channels} * {height} * {width}) -> ({height} * {width} * {channels}, out)",
        lambda a: a.reshape(-1, channels, height, width).transpose(2, 3, 1, 0).reshape(size, -1),
        lambda a: a.reshape(height, width, channels, -1).transpose(3, 2, 0, 1).reshape(-1, size),
        lambda shape: shape[::-1],
        ndim=2,
    )


class Rule(NamedTuple):
    """Source key `source` fills target leaf `target`, a path written `coupling_0/dense_0/kernel`."""

    source: str
    target: str
    transform: Transform


def check_table(rules: Sequence[Rule], targets: Iterable[str], ignored: Iterable[str] = ()) -> None:
    """Check that a table fills every target leaf exactly once and uses every source key at most once.

    Raises:
        RuleTableError: a target leaf is filled twice, or not at all, or is no leaf of the model.
        DoublyUsedKeysError: a source key is used twice, or both used and ignored.
    """
    targets = set(targets)
    filled = Counter(rule.target for rule in rules)
    wrong = [f"target {name} is filled {count} times" for name, count in filled.items() if count > 1]
    wrong += [f"target {name} is filled by no rule" for name in sorted(targets - set(filled))]
    wrong += [f"target {name} is no leaf of the model" for name in sorted(set(filled) - targets)]
    if wrong:
        raise RuleTableError(f"the rule table is wrong: {'; '.join(wrong)}")
    used = Counter(rule.source for rule in rules)
    doubly = [f"{name} is used by {count} rules" for name, count in used.items() if count > 1]
    doubly += [f"{name} is both used and ignored" for name in ignored if name in used]
    if doubly:
        raise DoublyUsedKeysError(f"source keys are used twice: {'; '.join(doubly)}")


class Expected(NamedTuple):
    """What an array has to be."""

    shape: Shape
    dtypes: Sequence[np.dtype]


def check_arrays(
    arrays: Mapping[str, np.ndarray],
    expected: Mapping[str, Expected],
    ignored: Iterable[str] = (),
    *,
    what: str,
) -> None:
    """Check that `arrays` has exactly the names of `expected` beside the ignored ones, each sound.

    Sound is: of the shape and of one of the dtypes expected, finite, and if a whole number one that int32 holds. All
    problems of all arrays are found before anything is raised.

    Raises:
        ConversionError: the subclass of the first problem in the order missing, unexpected, shape, dtype, NaN.
    """
    ignored = set(ignored)
    problems: list[tuple[type[ConversionError], str]] = []
    problems += [(MissingKeysError, f"missing: {n} {e.shape}") for n, e in expected.items() if n not in arrays]
    problems += [(MissingKeysError, f"listed as ignored, but not there: {n}") for n in sorted(ignored - set(arrays))]
    for name, array in arrays.items():
        if name not in expected and name not in ignored:
            problems.append((UnexpectedKeysError, f"unexpected: {name} {array.shape}"))
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
        raise problems[0][0](f"{what} cannot be carried over, {len(problems)} problem(s):\n  {lines}")


def _unsound(
    name: str, array: np.ndarray, shape: Shape, dtypes: Sequence[np.dtype]
) -> Iterator[tuple[type[ConversionError], str]]:
    if array.shape != shape:
        yield ShapeMismatchError, f"shape: {name} is {array.shape}, expected {shape}"
    if array.dtype not in dtypes:
        allowed = " or ".join(str(dtype) for dtype in dtypes)
        hint = "JAX_ENABLE_X64=1 keeps float64, dtype= of parity.convert changes floating types on purpose"
        hint = f" ({hint})" if any(dtype.kind == "f" for dtype in dtypes) else ""
        yield UnsupportedDtypeError, f"dtype: {name} is {array.dtype}, expected {allowed}{hint}"
    elif array.dtype.kind == "i":
        if (array < 0).any() or (array > np.iinfo(np.int32).max).any():
            yield UnsupportedDtypeError, f"range: {name} is {array}, expected a count that int32 holds"
    elif not (finite := np.isfinite(array)).all():
        count = array.size - int(finite.sum())
        where = tuple(int(i) for i in np.unravel_index(int(finite.argmin()), array.shape))
        yield NonFiniteWeightsError, f"not finite: {name} has {count} NaN or infinite entries, first at {where}"
