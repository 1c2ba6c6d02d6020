"""Other conventions of attention: its scale, its mask, and which array is the query, the key and the value."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch

from parity.certification.causes.cause import Change, Number, after, number, replaced
from parity.certification.causes.tape import Call, Seen, named

PRODUCT = ("query", "key", "value", "attn_mask", "dropout_p", "is_causal", "scale")
MULTIHEAD = (
    "query", "key", "value", "embed_dim_to_check", "num_heads", "in_proj_weight", "in_proj_bias", "bias_k", "bias_v",
    "add_zero_attn", "dropout_p", "out_proj_weight", "out_proj_bias",
)  # fmt: skip
EXCHANGED = {
    "q and k": ("key", "query", "value"),
    "k and v": ("query", "value", "key"),
    "q and v": ("value", "key", "query"),
}
MASKS = {
    "none": "no mask",
    "causal": "a causal mask",
    "strict": "a causal mask without the diagonal",
    "anticausal": "a mask that leaves what follows",
    "inverted": "the mask's complement",
    "transposed": "the transposed mask",
}


def attention(call: Call, calls: Sequence[Call]) -> Iterator[Change | Number]:
    """Yield the alternatives to `scaled_dot_product_attention` and to `multi_head_attention_forward`."""
    del calls
    if call.name == "scaled_dot_product_attention":
        given = named(PRODUCT, call.args, call.kwargs)
        size, heads = given["query"].shape[-1], math.prod(given["query"].shape[1:-2])
        start = given.get("scale") or 1 / math.sqrt(size)
        make: Callable[..., Any] = _product
    elif call.name == "multi_head_attention_forward":
        given = named(MULTIHEAD, call.args, call.kwargs)
        if given.get("in_proj_weight") is None:
            return
        heads = given["num_heads"]
        size = given["embed_dim_to_check"] // heads
        start, make = 1 / math.sqrt(size), _multihead
    else:
        return
    known = (1.0, 1 / math.sqrt(size), 1 / math.sqrt(size * heads), 1 / size, math.sqrt(size))

    def edits(value: float) -> dict[int, Any]:
        return {call.number: make(scale=value)}

    def text(value: float) -> str:
        return f"scales the scores by {scale_of(value, size, heads)} where PyTorch has {scale_of(start, size, heads)}"

    yield number("attention_scale", start, known, edits, text)
    for said, order in EXCHANGED.items():
        convention = "q_k" if said == "q and k" else "q_k_v"
        yield Change(convention, f"exchanges {said}", {call.number: make(order=order)})
    causal, mask = bool(given.get("is_causal")), given.get("attn_mask")
    present = "none" if mask is None and not causal else "causal" if mask is None else "given"
    for name, said in MASKS.items():
        if name == present or (mask is None and name in ("inverted", "transposed")):
            continue
        here = {"none": "none", "causal": "a causal one", "given": "the mask that it is given"}[present]
        yield Change("mask", f"has {said} where PyTorch has {here}", {call.number: make(mask=name)})
    if make is _product:
        yield Change("softmax_axis", "takes the softmax over the queries", {call.number: replaced(_over_queries)})
    else:
        told = "has the entries of the heads as (size, heads), not (heads, size)"
        yield Change("head_order", told, {call.number: make(heads_last=True)})


def scale_of(value: float, size: int, heads: int) -> str:
    """Name a scale by what it is made of."""
    names = {
        "1": 1.0,
        f"1/√{size}, of the size of a head,": 1 / math.sqrt(size),
        f"1/√{size * heads}, of the size of all heads,": 1 / math.sqrt(size * heads),
        f"1/{size}": 1 / size,
    }
    return next((name for name, known in names.items() if math.isclose(value, known, rel_tol=1e-9)), f"{value:.7g}")


def _product(*, scale: float | None = None, order: tuple[str, ...] = (), mask: str = "") -> Any:
    def edit(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        given = named(PRODUCT, args, kwargs)
        arrays = [given[name] for name in order or PRODUCT[:3]]
        rest = {name: value for name, value in given.items() if name not in PRODUCT[:3]}
        if scale is not None:
            rest["scale"] = scale
        if mask:
            shape = given["query"].shape[-2], given["key"].shape[-2]
            allowed = _mask(mask, shape, rest.get("attn_mask"))
            rest |= {"attn_mask": allowed, "is_causal": False}
        return function(*arrays, **rest)

    return edit


def _mask(kind: str, shape: tuple[int, int], given: Any) -> Any:
    """Return a mask that is true where attention is allowed, or one to add."""
    if kind == "none":
        return None
    if kind == "inverted":
        return ~given if given.dtype == torch.bool else torch.where(given < 0, 0.0, -math.inf)
    if kind == "transposed":
        return given.transpose(-2, -1)
    ones = torch.ones(shape, dtype=torch.bool)
    # Rows without any allowed key would be NaN.
    first = torch.eye(*shape, dtype=torch.bool) & (torch.arange(shape[0])[:, None] == 0)
    return {"causal": ones.tril(), "strict": ones.tril(-1) | first, "anticausal": ones.triu()}[kind]


def _over_queries(query: Any, key: Any, value: Any, *_: Any, scale: float | None = None, **__: Any) -> Any:
    scores = query @ key.transpose(-2, -1) * (scale or 1 / math.sqrt(query.shape[-1]))
    return scores.softmax(-2) @ value


def _multihead(
    *, scale: float | None = None, order: tuple[str, ...] = (), mask: str = "", heads_last: bool = False
) -> Any:
    def edit(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        given = named(MULTIHEAD, args, kwargs)
        width, heads = given["embed_dim_to_check"], given["num_heads"]
        for name in ("in_proj_weight", "in_proj_bias"):
            if given.get(name) is None:
                continue
            q, k, v = given[name].chunk(3)
            if scale is not None:
                q = q * (scale * math.sqrt(width // heads))
            if order:
                parts = {"query": q, "key": k, "value": v}
                q, k, v = (parts[part] for part in order)
            if heads_last:
                q, k, v = (part.unflatten(0, (-1, heads)).transpose(0, 1).flatten(0, 1) for part in (q, k, v))
            given[name] = torch.cat([q, k, v])
        if heads_last:
            out = given["out_proj_weight"]
            given["out_proj_weight"] = out.unflatten(1, (-1, heads)).transpose(1, 2).flatten(1, 2)
        if mask:
            # (length, batch, width), or (length, width).
            shape = given["query"].shape[0], given["key"].shape[0]
            old = given.get("attn_mask")
            allowed = _mask(mask, shape, None if old is None else ~old if old.dtype == torch.bool else old)
            given |= {"attn_mask": ~allowed if allowed is not None and allowed.dtype == torch.bool else allowed}
            given |= {"is_causal": False, "need_weights": given.get("need_weights", False)}
        return function(**given)

    return edit


def scores(call: Call, calls: Sequence[Call]) -> Iterator[Change | Number]:
    """Yield the alternatives to the parts of an attention that is written out: products, softmax, masks."""
    del calls
    tensors = call.tensors
    if call.name in ("matmul", "bmm", "einsum") and call.outputs[0].floating:
        shape = call.outputs[0].shape
        if len(shape) >= 3 and shape[-1] == shape[-2]:
            edit = after(lambda scores: scores.transpose(-2, -1))
            yield Change("q_k", "exchanges q and k in the product of both", {call.number: edit})
    if call.name in ("softmax", "log_softmax"):
        yield from _softmaxes(call, tensors[0])
    if call.name == "masked_fill":
        yield Change("mask", "leaves the mask out", {call.number: replaced(lambda x, *_, **__: x)})
        edit = replaced(lambda x, mask, value: x.masked_fill(~mask, value))
        yield Change("mask", "has the mask's complement", {call.number: edit})
    if call.name in ("tril", "triu"):
        edit = after(lambda mask: mask.transpose(-2, -1))
        yield Change("mask", "has the transposed mask", {call.number: edit})


def _softmaxes(call: Call, x: Seen) -> Iterator[Change | Number]:
    present = named(("input", "dim"), call.args, call.kwargs).get("dim", -1)
    present = present % len(x.shape)
    for axis in range(len(x.shape)):
        if axis != present:
            edit = replaced(lambda x, *_, axis=axis, **__: getattr(x, call.name)(axis))
            text = f"takes the {call.name} over axis {axis} where PyTorch has axis {present}"
            yield Change("softmax_axis", text, {call.number: edit})
    if len(x.shape) >= 3 and x.shape[-1] == x.shape[-2] and present == len(x.shape) - 1:
        ahead = torch.ones(x.shape[-2:], dtype=torch.bool).triu(1)
        edit = replaced(lambda x, *_, **__: x.masked_fill(ahead, -math.inf).softmax(-1))
        yield Change("mask", "has a causal mask where PyTorch has none", {call.number: edit})
