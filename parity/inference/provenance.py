"""What is known about an array in a trace: the leaf it still equals, or the axis of its channels."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

SAME = ("convert_element_type", "copy", "copy_p", "stop_gradient", "optimization_barrier", "sharding_constraint")


class Leaf(NamedTuple):
    """A leaf of the tree, possibly with permuted axes: `axes` are its original axes, or None once it was reshaped."""

    path: str
    axes: tuple[int, ...] | None


class Intermediate(NamedTuple):
    """An intermediate value: the axis of its channels, and how they were flattened, if they were.

    `flat` is (number of channels, whether they vary fastest); (1, True) for a vector that is not a flattened image.
    """

    channels: int | None
    flat: tuple[int, bool] | None = None


def leaf_after(equation: Any, operands: list[Any]) -> Leaf | None:
    """The leaf that an equation's result still equals, if the equation only moves the entries of a leaf."""
    name = equation.primitive.name
    if len(operands) != 1 or not isinstance(operands[0], Leaf):
        return None
    leaf = operands[0]
    if name in SAME:
        return leaf
    if name == "transpose":
        order = equation.params["permutation"]
        return leaf._replace(axes=None if leaf.axes is None else tuple(leaf.axes[k] for k in order))
    if name in ("reshape", "broadcast_in_dim", "squeeze", "rev", "slice"):
        return leaf._replace(axes=None)
    return None


def intermediate_after(equation: Any, operands: list[Any], result: Any) -> Intermediate | None:
    """What is known about an equation's result."""
    name, parameters, shape = equation.primitive.name, equation.params, result.aval.shape
    if name == "conv_general_dilated":
        return Intermediate(parameters["dimension_numbers"].out_spec[1])
    if name == "dot_general":
        return _after_product(equation, operands, shape)
    if name == "gather":
        return Intermediate(len(shape) - 1) if len(shape) > 2 else None
    known = [
        (operand, atom.aval.shape)
        for operand, atom in zip(operands, equation.invars, strict=True)
        if isinstance(operand, Intermediate) and (operand.channels is not None or operand.flat is not None)
    ]
    if not known:
        return None
    # If there are several, the one that is not broadcast.
    operand, before = max(known, key=lambda pair: (pair[1] == shape, math.prod(pair[1])))
    if name == "reshape":
        return _reshaped(operand, before, shape)
    axis = operand.channels
    if name == "transpose":
        return Intermediate(None if axis is None else parameters["permutation"].index(axis))
    if name == "broadcast_in_dim":
        return Intermediate(None if axis is None else parameters["broadcast_dimensions"][axis])
    gone = parameters.get("axes") if name.startswith(("reduce_", "arg")) and len(shape) < len(before) else None
    gone = parameters["dimensions"] if name == "squeeze" else gone
    if gone is not None:
        if len(shape) == 2 and axis is not None and axis not in gone:
            return Intermediate(None, (1, True))
        return Intermediate(None if axis is None or axis in gone else axis - sum(k < axis for k in gone))
    if len(shape) != len(before):
        return None
    return operand if before == shape or operand.flat is None else Intermediate(axis)


def _after_product(equation: Any, operands: list[Any], shape: tuple[int, ...]) -> Intermediate | None:
    """The features of a layer are the last axis; any other product, such as a resizing, preserves the channels."""
    if any(isinstance(operand, Leaf) for operand in operands):
        return Intermediate(None, (1, True)) if len(shape) == 2 else Intermediate(len(shape) - 1)
    contracting, batch = equation.params["dimension_numbers"]
    start = len(batch[0])
    for side, (operand, atom) in enumerate(zip(operands, equation.invars, strict=True)):
        taken = {*contracting[side], *batch[side]}
        free = [axis for axis in range(len(atom.aval.shape)) if axis not in taken]
        axis = operand.channels if isinstance(operand, Intermediate) else None
        if axis in batch[side]:
            return Intermediate(tuple(batch[side]).index(axis))
        if axis in free:
            return Intermediate(start + free.index(axis))
        start += len(free)
    return None


def _reshaped(operand: Intermediate, before: tuple[int, ...], after: tuple[int, ...]) -> Intermediate | None:
    axis = operand.channels
    if axis is None:
        return operand if before == after else None
    if len(after) == 2 and len(before) >= 3 and after == (before[0], math.prod(before[1:])):
        if axis not in (1, len(before) - 1):
            return None
        return Intermediate(None, (before[axis], axis == len(before) - 1))
    if axis == len(before) - 1 and len(after) >= 3 and after[-1] == before[-1]:
        return Intermediate(len(after) - 1)
    return operand if before == after else None
