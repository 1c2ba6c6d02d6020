"""What is known about an array in a trace: the leaves in it, what it depends on, and the axis of its channels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple


class Leaf(NamedTuple):
    """A leaf of the tree inside an array: `axes` has, for every axis of the array, the leaf's own axis.

    None stands for an axis that the leaf has not, along which it is repeated. `axes` is None if the leaf's axes can no
    longer be told apart, as after a sum or a product over one of them. `rank` is the number of the leaf's own axes, and
    `reversed` has those of them that run backwards.
    """

    path: str
    axes: tuple[int | None, ...] | None
    rank: int
    reversed: frozenset[int] = frozenset()


class Intermediate(NamedTuple):
    """The axis of the channels of an array that was computed from the inputs, and how they were flattened, if so.

    `flat` is (number of channels, whether they vary fastest); (1, True) for a vector that is not a flattened image.
    `second` says whether PyTorch has the channels second, as after a convolution, or last, as those of tokens are; None
    if it may have either.
    """

    channels: int | None
    flat: tuple[int, bool] | None = None
    second: bool | None = None


class Known(NamedTuple):
    """What is known about an array.

    `leaves` are in it if it was computed from the tree alone; with `data` it depends on the inputs too, and `image`
    tells about its channels. `after` has a bit for every leaf that it depends on, and `turned` says whether it was
    computed from a sequence in reverse.
    """

    leaves: tuple[Leaf, ...] = ()
    image: Intermediate | None = None
    after: int = 0
    data: bool = False
    turned: bool = False


def joined(operands: Sequence[Known]) -> Known:
    """What is known about anything that was computed from these."""
    after = 0
    for operand in operands:
        after |= operand.after
    return Known(
        after=after, data=any(operand.data for operand in operands), turned=any(operand.turned for operand in operands)
    )


def intermediate_after(equation: Any, operands: Sequence[Known], result: Any) -> Intermediate | None:
    """What is known about the channels of an equation's result."""
    name, parameters, shape = equation.primitive.name, equation.params, result.aval.shape
    if name == "conv_general_dilated":
        return Intermediate(parameters["dimension_numbers"].out_spec[1], second=True)
    if name == "dot_general":
        return _after_product(equation, operands, shape)
    if name == "gather":
        return Intermediate(len(shape) - 1, second=False) if len(shape) > 2 else None
    known = [
        (operand.image, atom.aval.shape)
        for operand, atom in zip(operands, equation.invars, strict=True)
        if operand.image is not None and (operand.image.channels is not None or operand.image.flat is not None)
    ]
    if not known:
        return None
    # If there are several, the one that is not broadcast.
    operand, before = max(known, key=lambda pair: (pair[1] == shape, math.prod(pair[1])))
    if name == "reshape":
        return _reshaped(operand, before, shape)
    axis = operand.channels
    if name == "transpose":
        return operand._replace(channels=None if axis is None else parameters["permutation"].index(axis), flat=None)
    if name == "broadcast_in_dim":
        return operand._replace(channels=None if axis is None else parameters["broadcast_dimensions"][axis], flat=None)
    gone = parameters.get("axes") if name.startswith(("reduce_", "arg")) and len(shape) < len(before) else None
    gone = parameters["dimensions"] if name == "squeeze" else gone
    if gone is not None:
        if len(shape) == 2 and axis is not None and axis not in gone:
            return Intermediate(None, (1, True))
        left = None if axis is None or axis in gone else axis - sum(k < axis for k in gone)
        return operand._replace(channels=left, flat=None)
    if len(shape) != len(before):
        return None
    return operand if before == shape else operand._replace(flat=None)


def _after_product(equation: Any, operands: Sequence[Known], shape: tuple[int, ...]) -> Intermediate | None:
    """The features of a layer are its kernel's free axis; any other product, such as a resizing, keeps the channels."""
    contracting, batch = equation.params["dimension_numbers"]
    for side, operand in enumerate(operands):
        if operand.leaves:
            return _features(equation, operands[1 - side].image, side, shape)
    start = len(batch[0])
    for side, (operand, atom) in enumerate(zip(operands, equation.invars, strict=True)):
        taken = {*contracting[side], *batch[side]}
        free = [axis for axis in range(len(atom.aval.shape)) if axis not in taken]
        image = operand.image or Intermediate(None)
        if image.channels in batch[side]:
            return image._replace(channels=tuple(batch[side]).index(image.channels), flat=None)
        if image.channels in free:
            return image._replace(channels=start + free.index(image.channels), flat=None)
        start += len(free)
    return None


def _features(equation: Any, given: Intermediate | None, side: int, shape: tuple[int, ...]) -> Intermediate | None:
    """What a product with a kernel on this side returns; PyTorch's own has its features last, unless of an image."""
    if len(shape) == 2:
        return Intermediate(None, (1, True))
    contracting, batch = equation.params["dimension_numbers"]
    free = [len(atom.aval.shape) - len(contracting[k]) - len(batch[k]) for k, atom in enumerate(equation.invars)]
    if not free[side]:
        return None
    second = bool(given is not None and given.second and given.channels is not None and len(shape) >= 4)
    return Intermediate(len(batch[0]) + free[0] - 1 if side == 0 else len(shape) - 1, second=second)


def _reshaped(operand: Intermediate, before: tuple[int, ...], after: tuple[int, ...]) -> Intermediate | None:
    axis = operand.channels
    if axis is None:
        return operand if before == after else None
    if len(after) == 2 and len(before) >= 3 and after == (before[0], math.prod(before[1:])):
        last = axis == len(before) - 1
        if operand.second is None or not (last or (axis == 1 and operand.second)):
            return None
        return Intermediate(None, (before[axis], last) if operand.second else (1, True))
    if axis == len(before) - 1 and len(after) >= 3 and after[-1] == before[-1]:
        # The pixels of an image become tokens, of which PyTorch may have the features last.
        return Intermediate(len(after) - 1, second=None if len(after) == 3 < len(before) else operand.second)
    return operand if before == after else None
