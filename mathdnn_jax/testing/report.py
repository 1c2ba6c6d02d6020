"""The message of a failure."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from mathdnn_jax.errors import BijectorCheckError
from mathdnn_jax.testing.cases import Case
from mathdnn_jax.testing.failure import Failure
from mathdnn_jax.testing.structure import LEGEND, blocks, picture

WIDEST = 40
MOST_BLOCKS = 12


def as_error(failure: Failure, case: Case | None = None, examples: int = 0) -> BijectorCheckError:
    """Return the exception that reports a failure, with the smallest case that shows it."""
    lines = [f"{failure.direction} fails the check {failure.check!r}: {failure.claim}"]
    width = max([len(name) for name, _ in failure.numbers], default=0)
    lines += [f"  {name:<{width}}  {_value(value)}" for name, value in failure.numbers]
    lines += [
        f"  likely mistake: {hint}" if failure.check == "log_det" else f"  hint: {hint}" for hint in failure.hints
    ]
    if failure.event is not None:
        name = "x" if failure.direction == "forward" else "z"
        lines.append(f"smallest case found ({examples} cases tried):")
        lines.append(f"  {name} = {_array(failure.event)}")
    params = context = None
    if case is not None:
        params, context = case.params, case.context
        lines += [
            f"  {line}" for name, tree in (("params", params), ("context", context)) for line in _tree(name, tree)
        ]
    if failure.picture is not None:
        lines += _picture(*failure.picture)
    return BijectorCheckError(
        "\n".join(lines),
        check=failure.check,
        direction=failure.direction,
        event=failure.event,
        params=params,
        context=context,
    )


def _picture(title: str, matrix: np.ndarray) -> list[str]:
    lines = [f"{title}, {matrix.shape[0]} outputs (rows) × {matrix.shape[1]} inputs; {LEGEND}:"]
    lines += [f"    {row}" for row in picture(matrix)]
    if "minus the identity" in title:
        return lines
    parts = blocks(matrix)
    if not parts:
        return [*lines, "  its zeros alone make it singular"] if np.isfinite(matrix).all() else lines
    lines.append(f"  log|det| of its {len(parts)} diagonal block{'s' * (len(parts) > 1)} (block triangular form):")
    for part in parts[:MOST_BLOCKS]:
        sign = "+" if part.sign > 0 else "−" if part.sign < 0 else "0"
        lines.append(
            f"    {_range('output', part.rows)} by {_range('input', part.columns)}: {part.log_det:.6g} (sign {sign})"
        )
    if len(parts) > MOST_BLOCKS:
        rest = sum(part.log_det for part in parts[MOST_BLOCKS:])
        lines.append(f"    {len(parts) - MOST_BLOCKS} more: {rest:.6g} together")
    return lines


def _range(name: str, indices: tuple[int, ...]) -> str:
    if len(indices) == 1:
        return f"{name} {indices[0]}"
    if len(indices) > 2 and indices == tuple(range(indices[0], indices[-1] + 1)):
        return f"{name}s {indices[0]}–{indices[-1]}"
    return f"{name}s {', '.join(map(str, indices[:8]))}" + (", …" if len(indices) > 8 else "")


def _value(value: object) -> str:
    if isinstance(value, float | np.floating):
        return f"{float(value):.10g}"
    return _array(value) if isinstance(value, np.ndarray) else str(value)


def _array(array: np.ndarray) -> str:
    if array.size > WIDEST:
        shown = np.array2string(array.reshape(-1)[:WIDEST], separator=", ", precision=6, max_line_width=100)
        return f"{shown} … of shape {array.shape}"
    return np.array2string(array, separator=", ", precision=6, max_line_width=100).replace("\n", "\n      ")


def _tree(name: str, tree: Any) -> list[str]:
    if tree is None:
        return []
    lines = []
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        shown = _array(np.asarray(leaf)) if isinstance(leaf, np.ndarray | float | int) else str(leaf)
        lines.append(f"{name}{jax.tree_util.keystr(path)} = {shown}")
    return lines
