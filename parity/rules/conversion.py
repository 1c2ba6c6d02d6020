"""Carrying weights over by a rule table, strictly, from any state into any tree and back."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from parity.containers.checkpoint import State
from parity.errors import (
    DoublyUsedKeysError,
    NonFiniteWeightsError,
    RuleTableError,
    ShapeMismatchError,
    UnsupportedDtypeError,
)
from parity.rules.checks import Expected, Shape, check_arrays
from parity.rules.combining import combine, part_of, separate, source_shapes
from parity.rules.layouts import LAYOUTS
from parity.rules.table import RuleTable, TableRule, read_rules
from parity.rules.targets import rebuild, target_leaves
from parity.rules.wrappers import unwrap, wrap

COUNTER: list[np.dtype] = [np.dtype(np.int64)]


def convert_by_table(
    state: Mapping[str, Any],
    variables: Any,
    rules: RuleTable | str | os.PathLike[str],
    *,
    ignore: Collection[str] = (),
    dtype: DTypeLike | None = None,
) -> Any:
    """As `parity.convert(state, variables, rules)`."""
    table = read_rules(rules) if not isinstance(rules, RuleTable) else rules
    leaves = target_leaves(variables)
    targets = {path: tuple(leaf.shape) for path, leaf in leaves.items()}
    left_out = {*table.ignored, *ignore}
    check_rule_table(table, targets, left_out)
    arrays = unwrap(state, table.wrapper, table.prefix)
    expected = {
        key: Expected(_fitting(shape, arrays.get(key)), COUNTER if counts else _floating(dtype))
        for key, (shape, counts) in _sources(table, targets).items()
    }
    for key, first in table.tied.items():
        expected[key] = expected[first]
    check_arrays(arrays, expected, left_out, what="this state")
    apart = [f"{a} and {b}" for a, b in table.tied.items() if arrays[a].tobytes() != arrays[b].tobytes()]
    if apart:
        raise ShapeMismatchError(f"these are tied in the rule table and differ in the state: {', '.join(apart)}")
    flat = {}
    # An overflow, or a division by zero, is an error below, with the names of the weights.
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        for rule in table.rules:
            array = part_of(combine(rule, [arrays[key] for key in rule.sources]), rule)
            moved = LAYOUTS[rule.layout].to_target(array, targets[rule.target], rule.options)
            flat[rule.target] = jnp.array(moved, None if rule.layout == "counter" else dtype)
    spoiled = [path for path, leaf in flat.items() if not bool(jnp.isfinite(leaf).all())]
    if spoiled:
        why = "a weight_norm of zeros" if dtype is None else f"too large for {np.dtype(dtype)}"
        raise NonFiniteWeightsError(f"weights are not finite once converted: {', '.join(spoiled)} ({why})")
    return rebuild(variables, flat)


def export_by_table(variables: Any, rules: RuleTable | str | os.PathLike[str]) -> dict[str, Any]:
    """As `parity.export(variables, rules)`."""
    table = read_rules(rules) if not isinstance(rules, RuleTable) else rules
    leaves = {path: np.asarray(leaf) for path, leaf in target_leaves(variables).items()}
    targets = {path: leaf.shape for path, leaf in leaves.items()}
    check_rule_table(table, targets, table.ignored)
    counters = {rule.target for rule in table.rules if rule.layout == "counter"}
    expected = {
        path: Expected(shape, [np.dtype(np.int32)] if path in counters else _floating(np.float32, every=True))
        for path, shape in targets.items()
    }
    check_arrays(leaves, expected, what="this tree")
    parts: dict[str, dict[int, np.ndarray]] = defaultdict(dict)
    for rule in table.rules:
        layout = LAYOUTS[rule.layout]
        shape = layout.source_shape(targets[rule.target], rule.options)
        assert shape is not None
        for key, array in separate(rule, layout.to_source(leaves[rule.target], shape, rule.options)):
            parts[key][rule.part[0]] = array
    state: State = {
        key: np.array(found[0] if len(found) == 1 else np.concatenate([found[k] for k in sorted(found)]), order="C")
        for key, found in parts.items()
    }
    for key, first in table.tied.items():
        state[key] = state[first].copy()
    return wrap(state, table.wrapper, table.prefix)


def check_rule_table(table: RuleTable, targets: Mapping[str, Shape], ignored: Iterable[str]) -> None:
    """Check that a table fills every leaf once, uses every part of every source once, and that its layouts can fit.

    Raises:
        RuleTableError: a leaf is filled twice or not at all, or is none of the tree; a layout cannot give its shape.
        DoublyUsedKeysError: a source, or a part of one, is used twice, is both used and ignored or tied, or is used
            in part only.
    """
    filled = [rule.target for rule in table.rules]
    wrong = [f"target {path} is filled {filled.count(path)} times" for path in dict.fromkeys(filled) if
             filled.count(path) > 1]  # fmt: skip
    wrong += [f"target {path} is filled by no rule" for path in targets if path not in filled]
    wrong += [f"target {path} is no leaf of the tree" for path in filled if path not in targets]
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
        raise DoublyUsedKeysError(f"every source is used once and whole: {'; '.join(doubly)}")


def _sources(table: RuleTable, targets: Mapping[str, Shape]) -> dict[str, tuple[tuple[Shape, ...], bool]]:
    """{source key: (the shapes that it may have, whether it is a count)}."""
    sources = {}
    for rule in table.rules:
        shape = LAYOUTS[rule.layout].source_shape(targets[rule.target], rule.options)
        assert shape is not None
        for key, shapes in source_shapes(rule, shape).items():
            sources[key] = (shapes, rule.layout == "counter")
    return sources


def _fitting(shapes: tuple[Shape, ...], array: np.ndarray | None) -> Shape:
    """The shape that the array has where that is allowed, else the first allowed one, to be named as expected."""
    return array.shape if array is not None and array.shape in shapes else shapes[0]


def _floating(dtype: DTypeLike | None, *, every: bool = False) -> list[np.dtype]:
    """The floating types that are taken: those that JAX can keep, or any where the caller asks for one."""
    single, double = np.dtype(np.float32), np.dtype(np.float64)
    halves = [np.dtype(np.float16), np.dtype(jnp.bfloat16)]
    wide = jnp.result_type(float) == double
    if dtype is None:
        # Without 64-bit types JAX would round float64 weights to float32 and say nothing.
        return [single, *halves, double] if wide else [single, *halves]
    if not jnp.issubdtype(dtype, jnp.floating):
        raise UnsupportedDtypeError(f"weights are converted to a floating type, given {np.dtype(dtype)}")
    if np.dtype(dtype) == double and not wide and not every:
        raise UnsupportedDtypeError("JAX has no float64 here; set JAX_ENABLE_X64=1, or take dtype=jnp.float32")
    return [single, double, *halves]


__all__ = ["TableRule", "check_rule_table", "convert_by_table", "export_by_table"]
