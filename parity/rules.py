"""Rule tables: which source array fills which target leaf, and how its layout changes on the way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
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
    """A change of layout that only moves entries, so that it is exact and has an exact inverse."""

    name: str
    to_target: Callable[[np.ndarray], np.ndarray]
    to_source: Callable[[np.ndarray], np.ndarray]
    source_shape: Callable[[Shape], Shape]


SAME = Transform("same", lambda a: a, lambda a: a, lambda shape: shape)
TRANSPOSE = Transform("(out, in) -> (in, out)", np.transpose, np.transpose, lambda shape: shape[::-1])
DROP_ROW = Transform("(1, n) -> (n,)", lambda a: a[0], lambda a: a[None], lambda shape: (1, *shape))


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


def check_arrays(
    arrays: Mapping[str, np.ndarray],
    shapes: Mapping[str, Shape],
    ignored: Iterable[str] = (),
    *,
    what: str,
    dtypes: Sequence[np.dtype],
) -> None:
    """Check that `arrays` has exactly the names of `shapes` beside the ignored ones, each sound.

    Sound is: of the given shape, of one of `dtypes`, and finite. All problems of all arrays are found before
    anything is raised.

    Raises:
        ConversionError: the subclass of the first problem in the order missing, unexpected, shape, dtype, NaN.
    """
    ignored = set(ignored)
    allowed = " or ".join(str(dtype) for dtype in dtypes)
    problems: list[tuple[type[ConversionError], str]] = []
    problems += [(MissingKeysError, f"missing: {n} {s}") for n, s in shapes.items() if n not in arrays]
    problems += [(MissingKeysError, f"listed as ignored, but not there: {n}") for n in sorted(ignored - set(arrays))]
    for name, array in arrays.items():
        if name not in shapes and name not in ignored:
            problems.append((UnexpectedKeysError, f"unexpected: {name} {array.shape}"))
    for name, shape in shapes.items():
        if name not in arrays:
            continue
        array = arrays[name]
        if array.shape != shape:
            problems.append((ShapeMismatchError, f"shape: {name} is {array.shape}, expected {shape}"))
        if array.dtype not in dtypes:
            hint = "JAX_ENABLE_X64=1 keeps float64, dtype= of parity.convert changes floating types on purpose"
            problems.append((UnsupportedDtypeError, f"dtype: {name} is {array.dtype}, expected {allowed} ({hint})"))
        elif not np.isfinite(array).all():
            count = array.size - int(np.isfinite(array).sum())
            where = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
            problems.append(
                (NonFiniteWeightsError, f"not finite: {name} has {count} NaN or infinite entries, first at {where}")
            )
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
