"""Other conventions of convolutions and poolings: where they pad and with what, and how the kernel lies."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 (its usual name)

from parity.certification.causes.cause import Change, Number, replaced, with_arguments
from parity.certification.causes.tape import Call, Seen, named

CONVOLUTION = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")
AVERAGE = ("input", "kernel_size", "stride", "padding", "ceil_mode", "count_include_pad", "divisor_override")
MAXIMUM = ("input", "kernel_size", "stride", "padding", "dilation", "ceil_mode", "return_indices")
MODES = ("constant", "reflect", "replicate", "circular")
Pads = list[tuple[int, int]]
Pooling = tuple[str, Pads, bool]
"""The mean or the maximum, the padding, and whether it counts as zeros."""


def convolutions(call: Call, calls: Sequence[Call]) -> Iterator[Change | Number]:
    """Yield the alternatives to a convolution, and to a padding before it."""
    del calls
    if call.name == "pad":
        present = named(("input", "pad", "mode", "value"), call.args, call.kwargs).get("mode", "constant")
        for mode in MODES:
            if mode != present:
                edit = replaced(lambda x, pads, *_, mode=mode, **__: F.pad(x, pads, mode))
                yield Change("padding_mode", f"pads by {mode} where PyTorch pads by {present}", {call.number: edit})
    if call.name not in ("conv1d", "conv2d", "conv3d"):
        return
    given = named(CONVOLUTION, call.args, call.kwargs)
    weight: Seen = given["weight"]
    rank = len(weight.shape) - 2
    if isinstance(given.get("padding", 0), str):
        return
    stride, padding, dilation = (
        _each(given.get(n, d), rank) for n, d in (("stride", 1), ("padding", 0), ("dilation", 1))
    )
    present_pads = [(p, p) for p in padding]
    reach = [d * (k - 1) + 1 for d, k in zip(dilation, weight.shape[2:], strict=True)]
    for said, pads in same_pads(given["input"].shape[2:], reach, stride, present_pads):
        text = f"pads {said} where PyTorch pads {_told(present_pads)}"
        yield Change("padding", text, {call.number: _convolved(pads, "constant")})
    if any(padding):
        for mode in MODES[1:]:
            edit = _convolved(present_pads, mode)
            yield Change("padding_mode", f"pads by {mode} where PyTorch pads by zeros", {call.number: edit})
    for convention, text, change in _kernels(given, rank):
        yield Change(convention, text, {call.number: _with_weight(CONVOLUTION, change)})
    if given.get("bias") is not None:
        yield Change("no_bias", "leaves the bias out", {call.number: with_arguments(CONVOLUTION, bias=None)}, rank=1)


def _kernels(given: dict[str, Any], rank: int) -> Iterator[tuple[str, str, Any]]:
    shape, groups = given["weight"].shape, given.get("groups", 1)
    axes = tuple(range(2, 2 + rank))
    if math.prod(shape[2:]) > 1:
        yield "flipped_kernel", "flips the kernel, as a convolution in mathematics does", lambda w: w.flip(axes)
    if rank == 2 and shape[2] == shape[3] > 1:
        yield "kernel_axes", "exchanges the kernel's height and width", lambda w: w.transpose(2, 3)
    if shape[0] == shape[1] > 1:
        yield "kernel_in_out", "exchanges the kernel's input and output channels", lambda w: w.transpose(0, 1)
    if 1 < groups < shape[0]:
        yield (
            "group_order",
            "puts every G-th output channel into a group where PyTorch has neighbours together",
            lambda w: w.unflatten(0, (-1, groups)).transpose(0, 1).flatten(0, 1),
        )


def transposed_convolutions(call: Call, calls: Sequence[Call]) -> Iterator[Change | Number]:
    """Yield the alternatives to a transposed convolution: a flipped kernel, and where the full result is cut."""
    del calls
    if not call.name.startswith("conv_transpose"):
        return
    names = ("input", "weight", "bias", "stride", "padding", "output_padding", "groups", "dilation")
    given = named(names, call.args, call.kwargs)
    shape = given["weight"].shape
    rank = len(shape) - 2
    for convention, text, change in _kernels({**given, "groups": 1}, rank):
        yield Change(convention, text, {call.number: _with_weight(names, change)})
    (present, *_) = _each(given.get("padding", 0), rank)
    size = call.outputs[0].shape[2:]
    for offset in range(max(shape[2:])):
        if offset != present:
            text = f"cuts {offset} pixels from the start of a transposed convolution's full result, PyTorch {present}"
            yield Change("transposed_padding", text, {call.number: _cut(names, size, offset)})


def _cut(names: Sequence[str], size: tuple[int, ...], offset: int) -> Any:
    def edit(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        given = named(names, args, kwargs)
        bias, rank = given.pop("bias", None), len(size)
        full = function(**{**given, "padding": 0, "output_padding": 0})
        missing = [max(0, n + offset - m) for n, m in zip(size, full.shape[2:], strict=True)]
        full = F.pad(full, [part for more in reversed(missing) for part in (0, more)])
        part = full
        for axis, n in enumerate(size, start=2):
            part = part.narrow(axis, offset, n)
        return part if bias is None else part + bias.view(-1, *(1,) * rank)

    return edit


def poolings(call: Call, calls: Sequence[Call]) -> Iterator[Change | Number]:
    """Yield the alternatives to a pooling."""
    del calls
    average = call.name in ("avg_pool1d", "avg_pool2d", "avg_pool3d")
    if not average and call.name not in ("max_pool1d", "max_pool2d", "max_pool3d"):
        return
    names = AVERAGE if average else MAXIMUM
    given = named(names, call.args, call.kwargs)
    rank = int(call.name[-2])
    kernel = _each(given["kernel_size"], rank)
    stride = _each(given.get("stride") or kernel, rank)
    pads = [(p, p) for p in _each(given.get("padding", 0), rank)]
    ceil, counted = bool(given.get("ceil_mode", False)), bool(given.get("count_include_pad", True))
    text = "rounds the size up" if not ceil else "rounds the size down"
    yield Change(
        "ceil_mode", f"{text} where PyTorch does not", {call.number: with_arguments(names, ceil_mode=not ceil)}
    )
    present = ("mean" if average else "maximum", pads, counted and average)
    choices = [("", pads), *same_pads(call.tensors[0].shape[2:], kernel, stride, pads)]
    for kind, (said, edges), zeros in itertools.product(("mean", "maximum"), choices, (True, False)):
        asked = (kind, edges, zeros)
        if asked == present or (zeros != present[2] and not any(map(any, edges))):
            continue
        edit = replaced(lambda x, *_, asked=asked, **__: _pooled(x, kernel, stride, *asked))
        # Another kind of pooling has a way of its own to treat the padding.
        others = (kind != present[0]) or (zeros != present[2])
        yield Change(*_pooling_told(asked, present, said), {call.number: edit}, rank=int(others and bool(said)))


def _pooling_told(asked: Pooling, present: Pooling, said: str) -> tuple[str, str]:
    """Return the convention and the text."""
    parts = [f"takes the {asked[0]} of a window where PyTorch takes the {present[0]}"] if asked[0] != present[0] else []
    if said:
        parts.append(f"pads {said} where PyTorch pads {_told(present[1])}")
    if asked[0] == "mean" and (asked[2] != present[2] or asked[0] != present[0]):
        parts.append("counts the padding in the mean" if asked[2] else "leaves the padding out of the mean")
    if asked[0] == "maximum" and asked[2]:
        parts.append("pads the maximum by zeros")
    zeros = "count_include_pad" if asked[0] == "mean" else "padding_value"
    return "pooling" if asked[0] != present[0] else "padding" if said else zeros, ", and ".join(parts)


def _pooled(x: torch.Tensor, kernel: list[int], stride: list[int], kind: str, pads: Pads, zeros: bool) -> torch.Tensor:
    mean, maximum = (getattr(F, f"{name}_pool{len(kernel)}d") for name in ("avg", "max"))
    edges = _for_pad(pads)
    if kind == "maximum":
        result: torch.Tensor = maximum(F.pad(x, edges, value=0.0 if zeros else -math.inf), kernel, stride)
        return result
    total: torch.Tensor = mean(F.pad(x, edges), kernel, stride)
    shares: torch.Tensor = torch.ones(()) if zeros else mean(F.pad(torch.ones_like(x), edges), kernel, stride)
    return total / shares


def same_pads(
    sizes: Sequence[int], reach: Sequence[int], stride: Sequence[int], present: Pads
) -> Iterator[tuple[str, Pads]]:
    """Yield SAME's padding, which is greater at the end, the other way round, and none, where they are another."""
    total = [max((-(-n // s) - 1) * s + r - n, 0) for n, r, s in zip(sizes, reach, stride, strict=True)]
    found = {
        "SAME": [(t // 2, t - t // 2) for t in total],
        "SAME with more at the start": [(t - t // 2, t // 2) for t in total],
        "VALID": [(0, 0) for _ in total],
    }
    seen = [present]
    for said, pads in found.items():
        if pads not in seen:
            seen.append(pads)
            yield f"{said}, {_told(pads)}," if said != "VALID" else said, pads


def _convolved(pads: Pads, mode: str) -> Any:
    def edit(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        given = named(CONVOLUTION, args, kwargs)
        return function(**{**given, "input": F.pad(given["input"], _for_pad(pads), mode), "padding": 0})

    return edit


def _with_weight(names: Sequence[str], change: Any) -> Any:
    def edit(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        given = named(names, args, kwargs)
        return function(**{**given, "weight": change(given["weight"])})

    return edit


def _each(value: Any, rank: int) -> list[int]:
    values = list(value) if isinstance(value, (tuple, list)) else [value]
    return [int(v) for v in (values * rank if len(values) == 1 else values)]


def _told(pads: Pads) -> str:
    return " x ".join(str(pad) for pad in dict.fromkeys(pads))


def _for_pad(pads: Pads) -> list[int]:
    return [side for pad in reversed(pads) for side in pad]
