"""Other conventions of recurrent layers: the order of gates, the two directions, GRU's reset, LSTM's forget bias."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import torch

from parity.certification.causes.cause import Change, Number, after
from parity.certification.causes.tape import Call, Edit

GATES = {"lstm": ("i", "f", "g", "o"), "gru": ("r", "z", "n")}
ARGUMENTS = 9
"""Of a call with one sequence for every event: input, state, weights, has_biases, layers, …, both ways, batch first."""


def recurrences(call: Call, calls: Sequence[Call]) -> Iterator[Change | Number]:
    """Yield the alternatives to an LSTM or a GRU."""
    del calls
    if call.name not in GATES or len(call.args) != ARGUMENTS:
        return
    names = GATES[call.name]
    both_ways, batch_first = call.args[7], call.args[8]
    for order in itertools.permutations(range(len(names))):
        if list(order) != sorted(order):
            told = ", ".join(names[k] for k in order)
            edit = _with_weights(partial(_permuted, order))
            yield Change(
                "gate_order", f"has the gates in the order {told}, PyTorch {', '.join(names)}", {call.number: edit}
            )
    if both_ways:
        half = after(lambda result: (torch.cat(result[0].chunk(2, -1)[::-1], -1), *result[1:]))
        yield Change("direction_order", "joins the backward direction before the forward one", {call.number: half})
        axis = 1 if batch_first else 0
        turned = after(lambda result: (_turned(result[0], axis), *result[1:]))
        yield Change(
            "direction_time", "leaves the backward direction's results in reversed time", {call.number: turned}
        )
    if call.name == "lstm":
        text = "adds 1 to the bias of the forget gate"
        yield Change("forget_bias", text, {call.number: _with_weights(_forgetting, biases=True)})
    elif not both_ways and call.args[3] and call.args[4] == 1:
        text = "applies GRU's reset gate to the state before the product, PyTorch to the product with its bias"
        yield Change("gru_reset", text, {call.number: _gru(reset_after=False, swapped=False)})
        text = "mixes as z·n + (1 − z)·h where PyTorch has (1 − z)·n + z·h"
        yield Change("gru_update", text, {call.number: _gru(reset_after=True, swapped=True)})


def _permuted(order: Sequence[int], weight: torch.Tensor) -> torch.Tensor:
    return torch.cat([weight.chunk(len(order))[k] for k in order])


def _with_weights(change: Callable[[torch.Tensor], torch.Tensor], *, biases: bool = False) -> Edit:
    def edit(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        weights = list(args[2])
        if biases:
            # Of the two biases of a layer, the first alone.
            new = [change(w) if w.dim() == 1 and weights[k - 1].dim() == 2 else w for k, w in enumerate(weights)]
        else:
            new = [change(w) for w in weights]
        return function(*args[:2], new, *args[3:], **kwargs)

    return edit


def _forgetting(bias: torch.Tensor) -> torch.Tensor:
    i, f, g, o = bias.chunk(4)
    return torch.cat([i, f + 1, g, o])


def _turned(y: torch.Tensor, axis: int) -> torch.Tensor:
    ahead, back = y.chunk(2, -1)
    return torch.cat([ahead, back.flip(axis)], -1)


def _gru(*, reset_after: bool, swapped: bool) -> Edit:
    def edit(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        del function, kwargs
        x, h, (w, u, b, c), batch_first = args[0], args[1][0], args[2], args[8]
        steps = []
        for now in x.unbind(1 if batch_first else 0):
            r_x, z_x, n_x = (now @ w.T + b).chunk(3, -1)
            r_h, z_h, n_h = (h @ u.T + c).chunk(3, -1)
            r, z = torch.sigmoid(r_x + r_h), torch.sigmoid(z_x + z_h)
            inner = r * n_h if reset_after else (r * h) @ u.chunk(3)[2].T + c.chunk(3)[2]
            n = torch.tanh(n_x + inner)
            h = z * n + (1 - z) * h if swapped else (1 - z) * n + z * h
            steps.append(h)
        return torch.stack(steps, 1 if batch_first else 0), h[None]

    return edit
