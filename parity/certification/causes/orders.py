"""Other orders: of flattening, of heads, of a pixel shuffle's channels, of what is joined and split."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import torch

from parity.certification.causes.cause import Change, Number, after, replaced
from parity.certification.causes.tape import Call, named


def orders(call: Call, calls: Sequence[Call]) -> Iterator[Change | Number]:
    """Yield the alternatives to a call that only moves entries."""
    del calls
    if call.name in ("flatten", "reshape", "view"):
        yield from _reshapes(call)
    if call.name in ("pixel_shuffle", "pixel_unshuffle", "channel_shuffle"):
        yield from _shuffles(call)
    if call.name in ("cat", "concat", "concatenate"):
        edit = replaced(lambda arrays, *rest, **kwargs: torch.cat(list(arrays)[::-1], *rest, **kwargs))
        yield Change("concatenation_order", "concatenates in the other order", {call.number: edit})
    if call.name in ("chunk", "split", "unbind", "tensor_split") and len({seen.shape for seen in call.outputs}) == 1:
        count = len(call.outputs)
        for order in itertools.permutations(range(count)) if 1 < count <= 3 else []:
            if list(order) != sorted(order):
                edit = after(partial(_permuted, order))
                text = f"takes the {count} parts of {call.name} in the order {order}"
                # Three parts are the query, the key and the value.
                convention = "split_order" if count == 2 else "q_k" if order == (1, 0, 2) else "q_k_v"
                yield Change(convention, text, {call.number: edit})


def _permuted(order: Sequence[int], parts: Sequence[Any]) -> tuple[Any, ...]:
    return tuple(parts[k] for k in order)


def _reshapes(call: Call) -> Iterator[Change | Number]:
    before, (result,) = call.tensors[0], call.outputs
    old, new = before.shape, result.shape
    if len(old) >= 3 and len(new) == 2 and old[0] == new[0]:
        edit = replaced(lambda x, *_, **__: x.movedim(1, -1).reshape(new))
        yield Change(
            "flatten_order", "flattens with the channels last where PyTorch has them first", {call.number: edit}
        )
        edit = replaced(lambda x, *_, **__: x.reshape(old[0], *old[2:], old[1]).movedim(-1, 1).reshape(new))
        text = "flattens with the channels first, though the next kernel's rows are for channels last"
        yield Change("flatten_order", text, {call.number: edit})
        if len(old) == 4:
            edit = replaced(lambda x, *_, **__: x.transpose(2, 3).reshape(new))
            yield Change("flatten_order", "flattens width before height", {call.number: edit})
            edit = replaced(lambda x, *_, **__: x.permute(0, 3, 2, 1).reshape(new))
            yield Change("flatten_order", "flattens as (W, H, C)", {call.number: edit})
    if len(new) == len(old) + 1 and new[:-2] == old[:-1] and min(new[-2:]) > 1:
        edit = replaced(lambda x, *_, **__: x.reshape(*new[:-2], new[-1], new[-2]).transpose(-2, -1))
        yield Change("head_order", f"splits {old[-1]} entries the other way round", {call.number: edit})
    if len(old) == len(new) + 1 and old[:-2] == new[:-1] and min(old[-2:]) > 1:
        edit = replaced(lambda x, *_, **__: x.transpose(-2, -1).reshape(new))
        yield Change("head_order", f"joins {new[-1]} entries the other way round", {call.number: edit})
    if len(new) == len(old) + 2 and new[:-3] == old[:-1] and 3 in new[-3:]:
        for order in itertools.permutations(range(3)):
            if list(order) != [0, 1, 2]:
                yield Change(
                    "split_order", f"splits q, k, v and heads in the order {order}", {call.number: _split(new, order)}
                )


def _split(new: tuple[int, ...], order: tuple[int, ...]) -> Any:
    sizes = [new[len(new) - 3 + k] for k in order]
    lead = len(new) - 3
    back = [lead + order.index(k) for k in range(3)]
    return replaced(lambda x, *_, **__: x.reshape(*new[:lead], *sizes).permute(*range(lead), *back))


def _shuffles(call: Call) -> Iterator[Change | Number]:
    given = named(("input", "factor"), call.args, call.kwargs)
    r = int(next(value for name, value in given.items() if name != "input"))
    if call.name == "channel_shuffle":
        edit = replaced(lambda x, *_, **__: x.unflatten(1, (-1, r)).transpose(1, 2).flatten(1, 2))
        yield Change("channel_order", "shuffles the channels the other way round", {call.number: edit})
        return
    usual = ("c", "i", "j")
    for order in itertools.permutations(usual):
        if order == usual:
            continue
        told = ", ".join({"c": "channel", "i": "row", "j": "column"}[k] for k in order)
        text = f"has the channels of {call.name} in the order {told}, PyTorch channel, row, column"
        yield Change("pixel_shuffle_order", text, {call.number: _shuffled(call.name, r, order)})


def _shuffled(name: str, r: int, order: tuple[str, ...]) -> Any:
    def edit(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        x: torch.Tensor = args[0]
        if name == "pixel_shuffle":
            sizes = {"c": x.shape[-3] // r**2, "i": r, "j": r}
            split = x.unflatten(-3, [sizes[k] for k in order])
            lead = x.dim() - 3
            usual = split.permute(*range(lead), *(lead + order.index(k) for k in "cij"), -2, -1)
            return function(usual.flatten(lead, lead + 2), *args[1:], **kwargs)
        result = function(*args, **kwargs)
        lead = result.dim() - 3
        split = result.unflatten(-3, (-1, r, r))
        return split.permute(*range(lead), *(lead + "cij".index(k) for k in order), -2, -1).flatten(lead, lead + 2)

    return edit
