"""What may stand where PyTorch has nothing, and layers in another order: norm and activation, pre- and post-norm."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch

from parity.certification.causes.activations import ADDED, FUNCTIONS, NAMES
from parity.certification.causes.cause import Change, Number, after, replaced
from parity.certification.causes.constants import called
from parity.certification.causes.norms import ARGUMENTS
from parity.certification.causes.orders import orders
from parity.certification.causes.rerun import really
from parity.certification.causes.tape import Call, Edit, Recorded, Seen, Span

FEW_CHANNELS = 4


class At(NamedTuple):
    """A place: the call of a module, "" being the network, and "input" or "output"."""

    layer: str
    side: str


def structures(
    module: torch.nn.Module, recorded: Recorded, at: At, region: Sequence[Call]
) -> Iterator[Change | Number]:
    """Yield what could be otherwise between the calls around a place, which depends on those of the region."""
    span = recorded.spans.get(at.layer)
    if span is None:
        return
    if at.side == "input" and span.inputs and span.inputs[0].floating:
        yield from _inserted(at.layer, span.inputs[0])
        yield from _exchanged(recorded, at.layer, span)
    elif at.layer == "" and span.outputs and span.outputs[0].floating:
        yield from _at_the_end()
    yield from _head_orders(recorded, region)
    yield from _norm_places(module, recorded)


def _head_orders(recorded: Recorded, region: Sequence[Call]) -> Iterator[Change]:
    """Heads that are split the other way and joined accordingly, in the modules of the region."""
    for name in dict.fromkeys(call.module for call in region):
        edits: dict[int, Edit] = {}
        for call in recorded.calls:
            if call.module == name:
                found = [option for option in orders(call, recorded.calls) if isinstance(option, Change)]
                edits |= next((option.edits for option in found if option.convention == "head_order"), {})
        if len(edits) > 1:
            yield Change("head_order", "has the entries of the heads as (size, heads), not (heads, size)", edits)


def _at_the_end() -> Iterator[Change | Number]:
    functions: dict[str, Callable[[Any], Any]] = {said: FUNCTIONS[said] for said in ADDED}
    functions |= {"softmax": lambda x: x.softmax(-1), "log softmax": lambda x: x.log_softmax(-1)}
    functions |= {"softmax over the channels": lambda x: x.softmax(1)}
    for said, function in functions.items():
        yield Change("activation", f"applies {said} at the end, where PyTorch has nothing", {}, outputs={"": function})

    def change(value: float) -> Change:
        text = f"multiplies the network's output by {called(value)}"
        return Change("scale", text, {}, rank=1, outputs={"": lambda x: x * value})

    yield Number((1.0,), (), change)


def _inserted(layer: str, x: Seen) -> Iterator[Change | Number]:
    where = "" if x.given else layer
    for said in () if x.given else ADDED:
        text = f"applies {said} before {layer}, where PyTorch has nothing"
        yield Change("activation", text, {}, rank=1, inputs={layer: FUNCTIONS[said]})

    def scaled(value: float) -> Change:
        what = "the inputs" if x.given else f"the input of {layer}"
        text = f"multiplies {what} by {called(value)}, which PyTorch does not"
        return Change("input_scale" if x.given else "scale", text, {}, rank=1, inputs={where: lambda x: x * value})

    yield Number((1.0,), (), scaled)
    if not x.given:
        return

    def moved(*values: float) -> Change:
        """(x − m) / s with s = 1/a, m = −b/a, for y = a x + b."""
        n = len(values) // 2
        m, s = ([float(f"{v:.9g}") for v in vs] for vs in _mean_and_deviation(values[:n], values[n:]))
        text = f"normalises the inputs, (x − m) / s with m = {_told(m)} and s = {_told(s)}, which PyTorch does not"
        along = (1, n, *(1,) * (len(x.shape) - 2)) if n > 1 else ()
        a, b = (torch.tensor(part, dtype=torch.float64).reshape(along) for part in (values[:n], values[n:]))
        return Change("input_normalisation", text, {}, rank=len(values), inputs={"": lambda x: x * a + b})

    yield Number((1.0, 0.0), (), moved)
    if len(x.shape) > 2 and 1 < x.shape[1] <= FEW_CHANNELS:
        yield Number((1.0,) * x.shape[1] + (0.0,) * x.shape[1], (), moved)


def _mean_and_deviation(a: tuple[float, ...], b: tuple[float, ...]) -> tuple[list[float], list[float]]:
    return [-q / p for p, q in zip(a, b, strict=True)], [1 / p for p in a]


def _told(values: list[float]) -> str:
    return f"{values[0]:.9g}" if len(values) == 1 else f"({', '.join(f'{v:.9g}' for v in values)})"


def _exchanged(recorded: Recorded, layer: str, span: Span) -> Iterator[Change]:
    """A norm before an activation that PyTorch has after it, and the other way round."""
    if not any(call.name in ARGUMENTS for call in recorded.calls[span.first : span.end]) or len(span.outputs) != 1:
        return
    text = "applies {} before {}, where PyTorch applies it after"
    for call in recorded.calls[span.end :]:
        if call.name in NAMES and call.tensors and call.tensors[0].key == span.outputs[0].key:
            yield Change(
                "order", text.format(call.name, "the norm"), {call.number: _nothing()}, 0, inputs={layer: _again(call)}
            )
    maker = span.inputs[0].maker
    if maker is not None and recorded.calls[maker].name in NAMES:
        call = recorded.calls[maker]
        edits = {maker: _nothing()}
        yield Change("order", text.format("the norm", call.name), edits, 0, outputs={layer: _again(call)})


def _nothing() -> Edit:
    return replaced(lambda x, *_, **__: x)


def _again(call: Call) -> Callable[[Any], Any]:
    numbers = [value for value in call.args[1:] if not isinstance(value, Seen)]
    kwargs = {name: value for name, value in call.kwargs.items() if not isinstance(value, Seen) and name != "inplace"}
    function = getattr(torch.nn.functional, call.name)
    return lambda x: function(x, *numbers, **kwargs)


def _norm_places(module: torch.nn.Module, recorded: Recorded) -> Iterator[Change]:
    """Post-norm for pre-norm, and the other way round, in every residual sum."""
    adds = [call for call in recorded.calls if call.name == "add" and len(call.tensors) == 2]
    for name, span in recorded.spans.items():
        own = recorded.calls[span.first : span.end]
        if len(own) != 1 or own[0].name not in ARGUMENTS or "#" in name or not span.inputs:
            continue
        part = module.get_submodule(name)
        x = span.inputs[0]
        for add in adds:
            keys = [seen.key for seen in add.tensors]
            if x.key in keys and add.number >= span.end:
                text = "normalises after the sum (post-norm) where PyTorch normalises its branch before it (pre-norm)"
                edit = after(partial(really, part))
                yield Change("pre_post_norm", text, {add.number: edit}, 2, skipped=frozenset({name}))
                break
            if x.maker == add.number:
                text = "normalises the branch before the sum (pre-norm) where PyTorch normalises after it (post-norm)"
                start = min(add.tensors, key=lambda seen: -1 if seen.maker is None else seen.maker)
                layers = _outermost(recorded, start.key, add, name.rpartition(".")[0])
                yield Change("pre_post_norm", text, {}, 2, inputs=_shared(part, layers), skipped=frozenset({name}))


def _outermost(recorded: Recorded, key: Hashable, add: Call, parent: str) -> list[str]:
    """Return the modules directly in `parent` that take this tensor before the sum."""
    prefix = f"{parent}." if parent else ""
    return [
        name
        for name, span in recorded.spans.items()
        if span.end <= add.number
        and span.inputs
        and span.inputs[0].key == key
        and name.startswith(prefix)
        and name not in ("", parent)
        and not any(
            name.startswith(f"{other}.") and recorded.spans[other].inputs[:1] == span.inputs[:1]
            for other in recorded.spans
            if other not in ("", parent) and other.startswith(prefix)
        )
    ]


def _shared(part: Any, layers: Sequence[str]) -> dict[str, Callable[[Any], Any]]:
    """Return changes of these layers' inputs: the first calls the module, and the others take what it returned."""
    latest: list[Any] = []

    def called_for(x: Any) -> Any:
        latest[:] = [really(part, x)]
        return latest[0]

    return {layer: (lambda _: latest[0]) if k else called_for for k, layer in enumerate(layers)}
