"""Other activations in place of an activation, and none or one where there is none."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 (its usual name)

from parity.certification.causes.cause import Change, Number, after, number, replaced
from parity.certification.causes.tape import Call, Edit, named

FUNCTIONS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "exact GELU (erf)": F.gelu,
    "GELU by tanh": partial(F.gelu, approximate="tanh"),
    "quick GELU, x σ(1.702 x)": lambda x: x * torch.sigmoid(1.702 * x),
    "SiLU": F.silu,
    "ReLU": F.relu,
    "ReLU6": F.relu6,
    "hard swish": F.hardswish,
    "Mish": F.mish,
    "leaky ReLU with slope 0.01": F.leaky_relu,
    "leaky ReLU with slope 0.2": partial(F.leaky_relu, negative_slope=0.2),
    "ELU": F.elu,
    "SELU": F.selu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "hard sigmoid, clip(x / 6 + 1 / 2)": F.hardsigmoid,
    "hard sigmoid, clip(x / 5 + 1 / 2)": lambda x: torch.clamp(x / 5 + 0.5, 0, 1),
    "softplus": F.softplus,
    "softsign": F.softsign,
    "log sigmoid": F.logsigmoid,
    "square of ReLU": lambda x: F.relu(x) ** 2,
    "no activation": lambda x: x,
}
NAMES = {
    "gelu": "exact GELU (erf)", "silu": "SiLU", "relu": "ReLU", "relu6": "ReLU6", "hardtanh": "ReLU6",
    "hardswish": "hard swish", "mish": "Mish", "leaky_relu": "leaky ReLU", "elu": "ELU", "selu": "SELU",
    "celu": "CELU", "tanh": "tanh", "sigmoid": "sigmoid", "hardsigmoid": "hard sigmoid, clip(x / 6 + 1 / 2)",
    "softplus": "softplus", "softsign": "softsign", "logsigmoid": "log sigmoid", "prelu": "PReLU",
}  # fmt: skip
GELUS = ("exact GELU (erf)", "GELU by tanh", "quick GELU, x σ(1.702 x)")
SIZES = {"leaky_relu": ("negative_slope", 0.01), "elu": ("alpha", 1.0), "celu": ("alpha", 1.0), "softplus": ("beta", 1)}
WITHOUT = ("linear", "conv1d", "conv2d", "conv3d", "addmm", "batch_norm", "layer_norm", "group_norm", "rms_norm", "add")
ADDED = ("ReLU", "exact GELU (erf)", "GELU by tanh", "SiLU", "tanh", "sigmoid")


def activations(call: Call, calls: Sequence[Call]) -> Iterator[Change | Number]:
    """Yield the alternatives to an activation, the relatives first."""
    del calls
    if call.name == "glu":
        yield Change("glu_halves", "takes the other half of the GLU for the gate", {call.number: replaced(_other_glu)})
    if call.name in NAMES:
        yield from _others(call)
    if call.name in WITHOUT and call.outputs and call.outputs[0].floating:
        for said in ADDED:
            text = f"applies {said} to the result of {call.name}"
            yield Change("activation", text, {call.number: after(FUNCTIONS[said])}, rank=1)


def _others(call: Call) -> Iterator[Change | Number]:
    present = NAMES[call.name]
    if call.kwargs.get("approximate") == "tanh":
        present = "GELU by tanh"
    if call.name == "relu":
        yield number("leaky_slope", 0.0, (), lambda v: _leaky(call, v), lambda v: f"has slope {v:.7g} below 0 in ReLU")
    if call.name in SIZES:
        argument, default = SIZES[call.name]
        names = ("input", argument)
        start = float(named(names, call.args, call.kwargs).get(argument, default))
        word = "slope" if argument == "negative_slope" else argument

        def text(value: float) -> str:
            return f"takes the {word} {value:.7g} in {call.name} where PyTorch has {start:g}"

        def edits(value: float) -> dict[int, Any]:
            return {call.number: replaced(lambda x, *_, **__: getattr(F, call.name)(x, **{argument: value}))}

        convention = "leaky_slope" if call.name == "leaky_relu" else f"{call.name}_{argument}"
        yield number(convention, start, (0.01, 0.2, 0.1, 0.3), edits, text)
    for said, function in FUNCTIONS.items():
        if said == present or (call.name == "leaky_relu" and said.startswith("leaky")):
            continue
        convention = "gelu" if said in GELUS and present in GELUS else "activation"
        # The order of the table above: relatives come before strangers only by the rank.
        rank = 0 if convention == "gelu" or said != "no activation" else 1
        edit = replaced(lambda x, *_, function=function, **__: function(x))
        yield Change(convention, f"computes {said} where PyTorch has {present}", {call.number: edit}, rank)


def _leaky(call: Call, slope: float) -> dict[int, Edit]:
    return {call.number: replaced(lambda x, *_, **__: F.leaky_relu(x, slope))}


def _other_glu(x: torch.Tensor, dim: int = -1) -> torch.Tensor:
    a, b = x.chunk(2, dim)
    return torch.sigmoid(a) * b
