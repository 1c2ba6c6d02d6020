"""Following leaves through what a network does to its parameters before they meet the data: masks, scales, norms."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from parity.inference.provenance import Known, Leaf

Axes = tuple[int | None, ...] | None

ELEMENTWISE = frozenset({
    "abs", "add", "atan2", "cbrt", "ceil", "clamp", "convert_element_type", "copy", "copy_p", "cos", "div", "erf",
    "exp", "exp2", "expm1", "floor", "integer_pow", "log", "log1p", "logistic", "max", "min", "mul", "neg", "nextafter",
    "optimization_barrier", "pow", "reduce_precision", "rem", "round", "rsqrt", "select_n", "sharding_constraint",
    "sign", "sin", "sqrt", "square", "stop_gradient", "sub", "tan", "tanh",
})  # fmt: skip
"""Primitives whose result has, at every place, what was computed from the operands' entries at that place."""

KEEPING_AXES = ELEMENTWISE | {"concatenate", "cumsum", "dynamic_slice", "pad", "rev", "slice"}


def leaves_after(equation: Any, operands: Sequence[Known]) -> tuple[Leaf, ...]:
    """The leaves in the result of an equation of which no operand depends on the inputs."""
    shape = equation.outvars[0].aval.shape
    found: dict[str, Leaf] = {}
    for operand, atom in zip(operands, equation.invars, strict=True):
        for leaf in operand.leaves:
            moved = leaf._replace(
                axes=_axes_after(equation, leaf.axes, atom.aval.shape, shape), reversed=_reversed_after(equation, leaf)
            )
            found[leaf.path] = _both(found[leaf.path], moved) if leaf.path in found else moved
    return tuple(found.values())


def _both(first: Leaf, second: Leaf) -> Leaf:
    """What is known of a leaf that is there twice: W - mean(W) has the axes of W, and W - W.T has none."""
    if first.axes is None or second.axes is None:
        return second if first.axes is None else first
    pairs = list(zip(first.axes, second.axes, strict=True))
    if first.reversed != second.reversed or any(None not in pair and pair[0] != pair[1] for pair in pairs):
        return first._replace(axes=None)
    return first._replace(axes=tuple(a if b is None else b for a, b in pairs))


def _reversed_after(equation: Any, leaf: Leaf) -> frozenset[int]:
    if equation.primitive.name != "rev" or leaf.axes is None:
        return leaf.reversed
    return leaf.reversed ^ {axis for k in equation.params["dimensions"] if (axis := leaf.axes[k]) is not None}


def _axes_after(equation: Any, axes: Axes, before: tuple[int, ...], after: tuple[int, ...]) -> Axes:
    name, parameters = equation.primitive.name, equation.params
    if axes is None:
        return None
    if name in KEEPING_AXES:
        if len(before) == len(after):
            return axes
        return (None,) * len(after) if not before else None
    if name == "transpose":
        return tuple(axes[k] for k in parameters["permutation"])
    if name == "broadcast_in_dim":
        places = dict(zip(parameters["broadcast_dimensions"], axes, strict=True))
        return tuple(places.get(k) for k in range(len(after)))
    if name == "squeeze":
        return tuple(axis for k, axis in enumerate(axes) if k not in parameters["dimensions"])
    return _axes_of_reshaped(axes, before, after) if name == "reshape" else None


def _axes_of_reshaped(axes: tuple[int | None, ...], before: tuple[int, ...], after: tuple[int, ...]) -> Axes:
    """The axes after a reshape that only splits axes, or adds or drops axes of length 1; None after any other."""
    left = [(n, axis) for n, axis in zip(before, axes, strict=True) if n != 1]
    found: list[int | None] = []
    rest, own = 1, None
    for n in after:
        if n == 1:
            found.append(None)
            continue
        if rest == 1 and left:
            rest, own = left.pop(0)
        if rest % n:
            return None
        rest //= n
        found.append(own)
    return tuple(found)
