"""Other numbers in arithmetic: constants, an ε in or outside a root, factors of sums, variances, means."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch

from parity.certification.causes.cause import Change, Number, after, number, replaced
from parity.certification.causes.norms import EPSILONS
from parity.certification.causes.tape import Call, Edit, Seen

ARITHMETIC = {
    "add": "adds", "sub": "subtracts", "rsub": "subtracts from", "mul": "multiplies by", "div": "divides by",
    "truediv": "divides by", "true_divide": "divides by", "rdiv": "divides",
    "pow": "takes the power", "clamp": "clips at",
}  # fmt: skip
ROOTS = ("sqrt", "rsqrt", "std", "norm", "linalg_vector_norm")
SMALL = 0.05


def constants(call: Call, calls: Sequence[Call]) -> Iterator[Change | Number]:
    """Yield other values of a number that a tensor is combined with."""
    if call.name not in ARITHMETIC or not call.outputs or not call.outputs[0].floating:
        return
    places = [k for k, value in enumerate(call.args) if isinstance(value, (int, float)) and not isinstance(value, bool)]
    if not places:
        return
    place, start = places[0], float(call.args[places[0]])
    convention, known = _known(call, calls, start)
    verb = ARITHMETIC[call.name]

    def edits(value: float) -> dict[int, Edit]:
        def edit(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            return function(*args[:place], value, *args[place + 1 :], **kwargs)

        return {call.number: edit}

    def text(value: float) -> str:
        if convention == "eps":
            return f"adds eps {value:.7g} where PyTorch adds {start:.7g}"
        return f"{verb} {called(value)} where PyTorch {verb} {called(start)}"

    yield number(convention, start, known, edits, text, kind=call.name)
    rounded = float(np.float32(start))
    if rounded != start:
        said = f"{verb} {start:.9g} rounded to float32"
        yield Change("float32_constant", said, edits(rounded), kind=call.name)
    if convention == "eps":
        yield from _places_of_epsilon(call, calls, start)


def _known(call: Call, calls: Sequence[Call], start: float) -> tuple[str, tuple[float, ...]]:
    if call.name == "add" and 0 < start < SMALL:
        return "eps", EPSILONS
    maker = _maker(call, calls)
    if call.name not in ("mul", "div", "truediv") or maker is None:
        return "constant", ()
    if maker.name in ("matmul", "bmm", "einsum") and len(maker.tensors) > 1:
        size, heads = maker.tensors[0].shape[-1], math.prod(maker.tensors[0].shape[1:-2])
        scales = (1.0, 1 / math.sqrt(size), 1 / math.sqrt(size * heads), 1 / size)
        return "attention_scale", scales if call.name == "mul" else tuple(1 / scale for scale in scales)
    return ("embedding_scale" if maker.name == "embedding" else "constant"), (1.0,)


def _places_of_epsilon(call: Call, calls: Sequence[Call], eps: float) -> Iterator[Change]:
    maker = _maker(call, calls)
    readers = [other for other in calls if any(seen.maker == call.number for seen in other.tensors)]
    if any(other.name in ("sqrt", "rsqrt", "pow") for other in readers):
        edit = replaced(lambda x, *_, **__: (torch.sqrt(x) + eps) ** 2)
        yield Change("eps_outside", "adds eps to the root where PyTorch has it under the root", {call.number: edit})
    if maker is not None and maker.name in ROOTS:
        edit = replaced(lambda x, *_, **__: torch.sqrt(x**2 + eps))
        yield Change("eps_inside", "adds eps under the root where PyTorch adds it to the root", {call.number: edit})


def sums(call: Call, calls: Sequence[Call]) -> Iterator[Change | Number]:
    """Yield other factors of the terms of a sum of two tensors, and what a product with an array is without it."""
    del calls
    if call.name not in ("add", "sub", "mul", "div") or len(call.tensors) != 2 or not call.outputs[0].floating:
        return
    for k, term in enumerate(call.args[:2]):
        if not isinstance(term, Seen):
            return
        other = replaced(lambda *args, k=k, **_: args[1 - k].expand(call.outputs[0].shape))
        word = ("first", "second")[k]
        if term.maker is None and not term.given:
            yield Change(
                "left_out", f"leaves out the array that PyTorch's {call.name} has", {call.number: other}, rank=1
            )
        elif call.name == "add":
            yield Change("residual", f"leaves out the {word} term of a sum", {call.number: other}, rank=1)

            def edits(value: float, k: int = k) -> dict[int, Edit]:
                def edit(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
                    return function(*(a * value if j == k else a for j, a in enumerate(args)), **kwargs)

                return {call.number: edit}

            yield number(
                "residual_scale",
                1.0,
                (0.5, -1.0),
                edits,
                partial(_factor_told, word),
                rank=2,
            )
    if call.name == "add":
        half = after(lambda total: total / math.sqrt(2))
        yield Change("residual_scale", "divides a sum by √2", {call.number: half})


def _factor_told(word: str, value: float) -> str:
    return f"multiplies the {word} term of a sum by {called(value)}, PyTorch does not"


def reductions(call: Call, calls: Sequence[Call]) -> Iterator[Change | Number]:
    """Yield other divisors of a variance, and other ways to pool."""
    del calls
    if call.name in ("var", "std", "var_mean", "std_mean"):
        yield Change("unbiased_variance", *_other_divisor(call))
    if call.name == "mean" and len(call.args) > 1:
        for said, function in (("the maximum", torch.amax), ("the sum", torch.sum)):
            edit = replaced(lambda *args, function=function, **kwargs: function(*args, **kwargs))
            yield Change("pooling", f"takes {said} where PyTorch takes the mean", {call.number: edit})
        if call.args[1] in (1, (1,)) and not call.kwargs.get("keepdim"):
            for said, at in (("first", 0), ("last", -1)):
                edit = replaced(lambda x, *_, at=at, **__: x[:, at])
                yield Change("pooling", f"takes the {said} position where PyTorch takes the mean", {call.number: edit})
    one = call.args[1] if call.name == "getitem" and len(call.tensors[0].shape) == 3 else None
    if one in ((slice(None), 0), (slice(None), -1)):
        edit = replaced(lambda x, *_: x.mean(1))
        yield Change("pooling", "takes the mean over the positions where PyTorch takes one", {call.number: edit})
        other = -1 - one[1]
        edit = replaced(lambda x, *_: x[:, other])
        yield Change("pooling", "takes the position at the other end", {call.number: edit})
    adaptive, _, rank = call.name.rpartition("_pool")
    if adaptive in ("adaptive_avg", "adaptive_max"):
        kind = "max" if adaptive.endswith("avg") else "avg"
        edit = replaced(lambda *a, **k: getattr(torch.nn.functional, f"adaptive_{kind}_pool{rank}")(*a, **k))
        yield Change("pooling", f"pools by {kind} where PyTorch does not", {call.number: edit})


def _other_divisor(call: Call) -> tuple[str, dict[int, Edit]]:
    rest = dict(call.kwargs)
    flags = [value for value in call.args[1:] if isinstance(value, bool)]
    biased = not rest.pop("unbiased", flags[0] if flags else True)
    correction = rest.pop("correction", 0 if biased else 1)
    keep = bool(rest.pop("keepdim", flags[1] if len(flags) > 1 else False))
    dim = rest.pop("dim", next((v for v in call.args[1:] if not isinstance(v, bool)), None))
    edit = replaced(lambda x, *_, **__: getattr(torch, call.name)(x, dim, correction=1 - correction, keepdim=keep))
    said = "n − 1" if correction == 0 else "n"
    return f"divides by {said} in the variance, PyTorch does not", {call.number: edit}


def _maker(call: Call, calls: Sequence[Call]) -> Call | None:
    makers = [seen.maker for seen in call.tensors if seen.maker is not None]
    return calls[makers[0]] if makers else None


def called(value: float) -> str:
    """Return a number as it is known: √n, 1/√n, or its digits."""
    for n in range(2, 4097):
        for said, known in ((f"√{n}", math.sqrt(n)), (f"1/√{n}", 1 / math.sqrt(n)), (f"1/{n}", 1 / n)):
            if math.isclose(value, known, rel_tol=1e-12) and not (said.startswith("√") and math.isqrt(n) ** 2 == n):
                return said if not (said.startswith("1/√") and math.isqrt(n) ** 2 == n) else f"1/{math.isqrt(n)}"
    return f"{value:.9g}"
