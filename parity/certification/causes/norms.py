"""Other conventions of normalisations: ε, its place, statistics, the variance's divisor, groups, scale and shift."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch

from parity.certification.causes.cause import Change, Number, number, with_arguments
from parity.certification.causes.tape import Call, Edit, named

ARGUMENTS = {
    "batch_norm": ("input", "running_mean", "running_var", "weight", "bias", "training", "momentum", "eps"),
    "instance_norm": ("input", "running_mean", "running_var", "weight", "bias", "use_input_stats", "momentum", "eps"),
    "layer_norm": ("input", "normalized_shape", "weight", "bias", "eps"),
    "group_norm": ("input", "num_groups", "weight", "bias", "eps"),
    "rms_norm": ("input", "normalized_shape", "weight", "eps"),
    "normalize": ("input", "p", "dim", "eps"),
}
EPSILONS = (1e-3, 1e-5, 1e-6, 1e-8, 1e-12, 1e-2, 0.0)
DEFAULT = {"normalize": 1e-12}
TEXTS = {
    "statistics": "normalises by the statistics of the batch where PyTorch has the running ones",
    "eps_outside": "adds eps to the root of the variance and not under the root",
    "unbiased_variance": "divides the sum of squares by n − 1 in the variance, and not by n",
    "deviation": "takes the running variance for a standard deviation",
    "no_scale": "leaves the scale out",
    "no_shift": "leaves the shift out",
    "one_plus_scale": "multiplies by 1 + scale and not by the scale",
    "rms": "does not subtract the mean",
    "centred": "subtracts the mean",
    "norm_axes": "normalises every pixel over its channels alone",
    "group_order": "puts every G-th channel into a group where PyTorch has neighbours together",
}


class Parts(NamedTuple):
    """What a normalisation is made of: y = (values − mean) / √(variance + ε) · scale + shift, reshaped."""

    values: torch.Tensor
    mean: torch.Tensor
    variance: torch.Tensor
    size: int
    scale: torch.Tensor
    shift: torch.Tensor


def norms(call: Call, calls: Sequence[Call]) -> Iterator[Change | Number]:
    """Yield the alternatives to a normalisation."""
    del calls
    if call.name not in ARGUMENTS:
        return
    names = ARGUMENTS[call.name]
    given = named(names, call.args, call.kwargs)
    start = given.get("eps", DEFAULT.get(call.name, 1e-5))
    start = float(torch.finfo(torch.float64).eps) if start is None else float(start)

    def text(value: float) -> str:
        return f"takes eps {value:.7g} in {call.name} where PyTorch has {start:.7g}"

    yield number(
        "eps", start, EPSILONS, lambda value: {call.number: with_arguments(names, eps=value)}, text, kind=call.name
    )
    if call.name == "normalize":
        return
    for convention in _conventions(call, given):
        said = f"{TEXTS[convention]}, in {call.name}"
        rank = int(convention.startswith("no_"))
        yield Change(convention, said, {call.number: _edit(call.name, convention, start)}, rank)
    if call.name == "group_norm":
        channels, groups = call.tensors[0].shape[1], int(given["num_groups"])
        for other in [g for g in range(1, channels + 1) if channels % g == 0 and g != groups][:8]:
            said = f"normalises {other} groups of channels where PyTorch has {groups}"
            yield Change("groups", said, {call.number: with_arguments(names, num_groups=other)})


def _conventions(call: Call, given: dict[str, Any]) -> Iterator[str]:
    running = call.name == "batch_norm" and not given.get("training")
    if running:
        yield "statistics"
    yield "eps_outside"
    if running:
        yield "deviation"
    else:
        yield "unbiased_variance"
    yield "centred" if call.name == "rms_norm" else "rms"
    if given.get("weight") is not None:
        yield "one_plus_scale"
        yield "no_scale"
    if given.get("bias") is not None:
        yield "no_shift"
    if call.name == "group_norm":
        yield "norm_axes"
        if 1 < given["num_groups"] < call.tensors[0].shape[1]:
            yield "group_order"


def _edit(name: str, convention: str, eps: float) -> Edit:
    def edit(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        given = named(ARGUMENTS[name], args, kwargs)
        x = given["input"]
        if convention == "group_order":
            groups = given["num_groups"]
            mixed = x.unflatten(1, (-1, groups)).transpose(1, 2).flatten(1, 2)
            normal = function(mixed, groups, None, None, eps)
            plain = normal.unflatten(1, (groups, -1)).transpose(1, 2).flatten(1, 2)
            p = _parts(name, given)
            return plain * p.scale + p.shift
        p = _parts(name, given, batch=convention == "statistics", pixels=convention == "norm_axes")
        centred = convention == "centred" or (name != "rms_norm" and convention != "rms")
        return _joined(p, x.shape, convention, eps, centred)

    return edit


def _joined(p: Parts, shape: tuple[int, ...], convention: str, eps: float, centred: bool) -> torch.Tensor:
    mean, variance, scale, shift = p.mean, p.variance, p.scale, p.shift
    if not centred:
        mean, variance = torch.zeros_like(mean), variance + mean**2
    if convention == "unbiased_variance":
        variance = variance * (p.size / max(p.size - 1, 1))
    root = torch.sqrt(variance) + eps if convention == "eps_outside" else torch.sqrt(variance + eps)
    if convention == "deviation":
        root = variance + eps
    if convention == "no_scale":
        scale = torch.ones_like(scale)
    elif convention == "one_plus_scale":
        scale = 1 + scale
    if convention == "no_shift":
        shift = torch.zeros_like(shift)
    return ((p.values - mean) / root).reshape(shape) * scale + shift


def _parts(name: str, given: dict[str, Any], *, batch: bool = False, pixels: bool = False) -> Parts:
    x: torch.Tensor = given["input"]
    if name in ("layer_norm", "rms_norm"):
        count = len(given["normalized_shape"])
        axes: tuple[int, ...] = tuple(range(x.dim() - count, x.dim()))
        values, along = x, (1,) * (x.dim() - count) + tuple(x.shape[x.dim() - count :])
    else:
        groups = {"group_norm": given.get("num_groups"), "instance_norm": x.shape[1]}.get(name)
        along = (1, x.shape[1], *(1,) * (x.dim() - 2))
        values = x if groups is None else x.unflatten(1, (groups, -1))
        axes = tuple(k for k in range(values.dim()) if k != 1) if groups is None else tuple(range(2, values.dim()))
        axes = (2,) if pixels else axes
    if name == "batch_norm" and not batch and not given.get("training"):
        mean, variance = given["running_mean"].view(along), given["running_var"].view(along)
    else:
        variance, mean = torch.var_mean(values, axes, correction=0, keepdim=True)
    scale, shift = (
        torch.full(along, fill, dtype=x.dtype) if given.get(part) is None else given[part].view(along)
        for part, fill in (("weight", 1.0), ("bias", 0.0))
    )
    return Parts(values, mean, variance, math.prod(values.shape[k] for k in axes), scale, shift)
