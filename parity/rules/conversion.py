"""Conversion and export by a rule table: strict, bit for bit, between any state and any tree."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from parity.containers import MappedState
from parity.errors import (
    DoublyUsedKeysError,
    NonFiniteWeightsError,
    RuleTableError,
    ShapeMismatchError,
    UnsupportedDtypeError,
)
from parity.rules.checks import Expected, check_arrays
from parity.rules.combining import combine, part_of, separate, source_shapes
from parity.rules.layouts import LAYOUTS, Shape
from parity.rules.prefixes import expand
from parity.rules.table import Rule, RuleTable, read_rules
from parity.rules.targets import rebuild, target_leaves
from parity.rules.ties import with_ties
from parity.rules.wrappers import unwrap, wrap

SINGLE, DOUBLE = np.dtype(np.float32), np.dtype(np.float64)
HALVES: tuple[np.dtype, ...] = (np.dtype(np.float16), np.dtype(jnp.bfloat16))


def convert_by_table(
    state: Mapping[str, Any],
    variables: Any,
    rules: RuleTable | str | os.PathLike[str],
    *,
    ignore: Collection[str] = (),
    dtype: DTypeLike | None = None,
) -> Any:
    """Implement `parity.convert(state, variables, rules)`."""
    table = rules if isinstance(rules, RuleTable) else read_rules(rules)
    targets = {path: tuple(leaf.shape) for path, leaf in target_leaves(variables).items()}
    check_rule_table(table, targets, {*table.ignored, *ignore})
    arrays = unwrap(state, table.wrapper, table.prefix, {*table.ignored, *ignore})
    named = expand(ignore, arrays, table.prefix)
    arrays, table = with_ties(arrays, table, {*table.ignored, *named})
    check_rule_table(table, targets, {*table.ignored, *named})
    return rebuild(variables, convert_arrays(arrays, targets, table, ignore=named, dtype=dtype, halves=HALVES))


def with_own_ties(state: Mapping[str, np.ndarray], table: RuleTable) -> RuleTable:
    """Return the table with those keys of this state as tied that only repeat the array of a key that it uses."""
    return with_ties(unwrap(state, table.wrapper, table.prefix, table.ignored), table, table.ignored)[1]


def export_by_table(variables: Any, rules: RuleTable | str | os.PathLike[str]) -> dict[str, Any]:
    """Implement `parity.export(variables, rules)`."""
    table = rules if isinstance(rules, RuleTable) else read_rules(rules)
    leaves = {path: np.asarray(leaf) for path, leaf in target_leaves(variables).items()}
    targets = {path: leaf.shape for path, leaf in leaves.items()}
    return wrap(dict(export_arrays(leaves, targets, table, halves=HALVES)), table.wrapper, table.prefix)


def convert_arrays(
    arrays: Mapping[str, np.ndarray],
    targets: Mapping[str, Shape],
    table: RuleTable,
    *,
    ignore: Collection[str] = (),
    dtype: DTypeLike | None = None,
    halves: Collection[np.dtype] = (),
) -> dict[str, jax.Array]:
    """Return {path: leaf} for all targets, from arrays without wrapper and prefix, by a table that has been checked.

    `halves` are the half-precision types that are accepted although no `dtype` is given.

    Raises:
        ConversionError: as `parity.convert`.
    """
    floating = _floating(dtype, halves)
    shapes = outline(arrays)
    expected = {
        key: Expected(_fitting(allowed, shapes.get(key)), [np.dtype(np.int64)] if counts else floating)
        for key, (allowed, counts) in _sources(table, targets).items()
    }
    for key, first in table.tied.items():
        expected[key] = expected[first]
    check_arrays(arrays, expected, {*table.ignored, *ignore}, what="this state")
    unequal = [f"{a} and {b}" for a, b in table.tied.items() if arrays[a].tobytes() != arrays[b].tobytes()]
    if unequal:
        raise ShapeMismatchError(f"these are tied in the rule table and differ in the state: {', '.join(unequal)}")
    flat = {}
    # An overflow or a division by zero becomes an error below, with the names of the weights.
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        for rule in table.rules:
            array = part_of(combine(rule, [arrays[key] for key in rule.sources]), rule)
            moved = LAYOUTS[rule.layout].to_target(array, targets[rule.target], rule.options)
            flat[rule.target] = jnp.array(moved, None if rule.layout == "counter" else dtype)
    # Entries that are only moved stay finite.
    changed = flat if dtype is not None else [rule.target for rule in table.rules if rule.combine]
    spoiled = [path for path in changed if not bool(jnp.isfinite(flat[path]).all())]
    if spoiled:
        why = "a norm of zeros" if dtype is None else f"too large for {np.dtype(dtype)}"
        raise NonFiniteWeightsError(f"weights are not finite after the conversion: {', '.join(spoiled)} ({why})")
    return flat


class Exported(Mapping[str, np.ndarray]):
    """A PyTorch state dict whose arrays are made one at a time, each when it is looked up, from JAX parameters."""

    def __init__(self, leaves: Mapping[str, np.ndarray], targets: Mapping[str, Shape], table: RuleTable) -> None:
        self._leaves = leaves
        self._targets = targets
        self._tied = table.tied
        self._rules: dict[str, list[Rule]] = defaultdict(list)
        for rule in sorted(table.rules, key=lambda rule: rule.part[0]):
            for key in rule.sources:
                self._rules[key].append(rule)
        self._names = [*dict.fromkeys(key for rule in table.rules for key in rule.sources), *table.tied]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __contains__(self, name: object) -> bool:
        return name in self._rules or name in self._tied

    def __getitem__(self, name: str) -> np.ndarray:
        key = self._tied.get(name, name)
        if key not in self._rules:
            raise KeyError(name)
        parts = [self._part(rule, key) for rule in self._rules[key]]
        return np.array(parts[0] if len(parts) == 1 else np.concatenate(parts), order="C")

    def outline(self) -> dict[str, np.ndarray]:
        """Return what `MappedState.outline` does."""
        leaves = outline(self._leaves)
        made = {}
        for name in self._names:
            rule = self._rules[self._tied.get(name, name)][0]
            dtype = np.dtype(np.int64) if rule.layout == "counter" else leaves[rule.target].dtype
            shape = source_shapes(rule, _source_shape(rule, self._targets))[self._tied.get(name, name)][0]
            made[name] = np.broadcast_to(np.zeros((), dtype), shape)
        return made

    def _part(self, rule: Rule, key: str) -> np.ndarray:
        shape = _source_shape(rule, self._targets)
        moved = LAYOUTS[rule.layout].to_source(self._leaves[rule.target], shape, rule.options)
        return dict(separate(rule, moved))[key]


def export_arrays(
    leaves: Mapping[str, np.ndarray],
    targets: Mapping[str, Shape],
    table: RuleTable,
    *,
    halves: Collection[np.dtype] = (),
) -> Exported:
    """Check {path: leaf} against the targets and return the PyTorch state, without wrapper and prefix.

    `halves` are the half-precision types that are accepted.

    Raises:
        ConversionError: as `parity.export`.
    """
    check_rule_table(table, targets, table.ignored)
    counters = {rule.target for rule in table.rules if rule.layout == "counter"}
    expected = {
        rule.target: Expected(
            targets[rule.target], [np.dtype(np.int32)] if rule.target in counters else [SINGLE, DOUBLE, *halves]
        )
        for rule in table.rules
    }
    check_arrays(leaves, expected, what="this parameter tree")
    return Exported(leaves, targets, table)


def outline(arrays: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
    """Return arrays whose names, shapes and dtypes are right; their entries are not, where reading them takes time."""
    return arrays.outline() if isinstance(arrays, MappedState | Exported) else arrays


def check_rule_table(table: RuleTable, targets: Mapping[str, Shape], ignored: Iterable[str]) -> None:
    """Check that a table fills every leaf once, uses every part of every source once, and that its layouts can fit.

    Raises:
        RuleTableError: a leaf is filled twice or not at all, or is not in the tree; a layout cannot give its shape.
        DoublyUsedKeysError: a source, or a part of it, is used twice; it is used as well as ignored or tied; or only
            some of its parts are used.
    """
    filled = [rule.target for rule in table.rules]
    wrong = [f"target {path} is filled {filled.count(path)} times" for path in dict.fromkeys(filled) if
             filled.count(path) > 1]  # fmt: skip
    wrong += [f"target {path} is filled by no rule" for path in targets if path not in filled]
    wrong += [f"target {path} is not a leaf of the tree" for path in filled if path not in targets]
    for rule in table.rules:
        fits = rule.target in targets and LAYOUTS[rule.layout].source_shape(targets[rule.target], rule.options)
        if rule.target in targets and fits is None:
            wrong.append(f"target {rule.target} of shape {targets[rule.target]} cannot come from layout {rule.layout}")
    wrong += [f"{key} is tied to {first}, which no rule uses" for key, first in table.tied.items() if
              not any(first in rule.sources for rule in table.rules)]  # fmt: skip
    if wrong:
        raise RuleTableError(f"the rule table is wrong: {'; '.join(wrong)}")
    uses: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for rule in table.rules:
        for key in rule.sources:
            uses[key].append(rule.part)
    doubly = []
    for key, found in uses.items():
        count = found[0][1]
        if sorted(found) != [(k, count) for k in range(count)]:
            doubly.append(f"{key} is used in the parts {', '.join(f'{k} of {n}' for k, n in found)}")
    doubly += [f"{key} is both used and ignored" for key in sorted(set(ignored)) if key in uses or key in table.tied]
    doubly += [f"{key} is both used and tied" for key in table.tied if key in uses]
    if doubly:
        raise DoublyUsedKeysError(f"every source is used exactly once, and all of it: {'; '.join(doubly)}")


def _source_shape(rule: Rule, targets: Mapping[str, Shape]) -> Shape:
    shape = LAYOUTS[rule.layout].source_shape(targets[rule.target], rule.options)
    assert shape is not None, "check_rule_table has refused this"
    return shape


def _sources(table: RuleTable, targets: Mapping[str, Shape]) -> dict[str, tuple[tuple[Shape, ...], bool]]:
    """Return {source key: (the shapes that it may have, whether it is a counter)}."""
    return {
        key: (shapes, rule.layout == "counter")
        for rule in table.rules
        for key, shapes in source_shapes(rule, _source_shape(rule, targets)).items()
    }


def _fitting(shapes: tuple[Shape, ...], array: np.ndarray | None) -> Shape:
    """Return the array's own shape if it is allowed, else the first allowed one, which an error then names."""
    return array.shape if array is not None and array.shape in shapes else shapes[0]


def _floating(dtype: DTypeLike | None, halves: Collection[np.dtype]) -> list[np.dtype]:
    """Return the floating-point types accepted: those that JAX keeps, or all of them if the caller asks for one."""
    wide = jnp.result_type(float) == DOUBLE
    if dtype is None:
        # Without 64-bit types JAX would round float64 weights to float32 and say nothing.
        return [SINGLE, *halves, DOUBLE] if wide else [SINGLE, *halves]
    if not jnp.issubdtype(dtype, jnp.floating):
        raise UnsupportedDtypeError(f"weights are converted to a floating-point type, got {np.dtype(dtype)}")
    if np.dtype(dtype) == DOUBLE and not wide:
        raise UnsupportedDtypeError("JAX has no float64 here; set JAX_ENABLE_X64=1, or take dtype=jnp.float32")
    return [SINGLE, DOUBLE, *HALVES]
