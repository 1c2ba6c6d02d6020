"""Pairs of PyTorch networks of which the second has another convention, in the place of a JAX network."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch

F = torch.nn.functional
Recording = dict[tuple[str, str], np.ndarray]


class Network(torch.nn.Module):
    """Parts, and how they are called."""

    def __init__(self, call: Callable[..., Any], **parts: Any) -> None:
        super().__init__()
        for name, part in parts.items():
            self.add_module(name, part)
        self.call = call

    def forward(self, x: Any) -> Any:
        return self.call(self, x)


def recording(module: Any, x: Any) -> Recording:
    """What the parts of a network take and return, in their order, and its output."""
    values: Recording = {}
    handles = []

    def keep(name: str, side: str, value: Any) -> None:
        value = value[0] if isinstance(value, tuple) else value
        values[name, side] = value.detach().clone().numpy()

    for name, part in module.named_children():
        handles.append(part.register_forward_pre_hook(lambda _, args, name=name: keep(name, "input", args)))
        handles.append(part.register_forward_hook(lambda _, args, output, name=name: keep(name, "output", output)))
    try:
        with torch.no_grad():
            keep("", "output", module(x))
    finally:
        for handle in handles:
            handle.remove()
    return values


class Beside(NamedTuple):
    """The arguments of `likely_cause` for a network beside another."""

    module: Any
    run: Callable[[], Recording]
    departs: Callable[[Recording], tuple[int, str, str] | None]
    difference: Callable[[Recording, tuple[int, str, str]], np.ndarray | None]


def beside(right: Any, wrong: Any, x: Any) -> Beside:
    """Let the wrong network play JAX's part, with the right one's weights."""
    right, wrong = right.double().eval(), wrong.double().eval()
    wrong.load_state_dict(right.state_dict())
    theirs = recording(wrong, x)

    def departs(found: Recording) -> tuple[int, str, str] | None:
        for k, (place, value) in enumerate(theirs.items()):
            other = found.get(place)
            if other is None or other.shape != value.shape:
                return (k, *place)
            if not np.abs(other - value).max() <= 1e-13 * np.abs(value).max():
                return (k, *place)
        return None

    def difference(found: Recording, departure: tuple[int, str, str]) -> np.ndarray | None:
        place = departure[1:]
        return theirs[place] - found[place] if found[place].shape == theirs[place].shape else None

    return Beside(right, lambda: recording(right, x), departs, difference)


def drawn(*shape: int, scale: float = 1.0, shift: float = 0.0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * scale + shift


IMAGES = drawn(4, 4, 8, 8)
Pair = tuple[Callable[[], Any], Callable[[], Any], Any]
Call = Callable[[Any, Any], Any]


def on_images(right: Callable[[Any], Any], wrong: Callable[[Any], Any]) -> Pair:
    """A function of images after a convolution, with no weights of its own."""

    def build(function: Callable[[Any], Any]) -> Any:
        def call(self: Any, x: Any) -> Any:
            return function(self.conv(x))

        return Network(call, conv=torch.nn.Conv2d(4, 8, 3, padding=1))

    return lambda: build(right), lambda: build(wrong), IMAGES


def on_sequences(
    right: Callable[[Any, Any], Any], wrong: Callable[[Any, Any], Any], **parts: Callable[[], Any]
) -> Pair:
    def build(function: Callable[[Any, Any], Any]) -> Any:
        return Network(function, **{name: part() for name, part in parts.items()})

    return lambda: build(right), lambda: build(wrong), drawn(3, 5, 8)


def rms(x: Any, eps: float, *, outside: bool = False) -> Any:
    square = x.pow(2).mean(-1, keepdim=True)
    return x / (torch.sqrt(square) + eps if outside else torch.sqrt(square + eps))


def under_root(net: Any, x: Any) -> Any:
    return rms(net.dense(x), 1e-3)


def beside_root(net: Any, x: Any) -> Any:
    return rms(net.dense(x), 1e-3, outside=True)


def backward_first(net: Any, x: Any) -> Any:
    return torch.cat(net.lstm.forward(x)[0].chunk(2, -1)[::-1], -1)


def written_out(net: Any, x: Any, *, exchanged: bool = False, scale: float = math.sqrt(8), mask: bool = True) -> Any:
    q, k, v = net.qkv(x).chunk(3, -1)
    q, k = (k, q) if exchanged else (q, k)
    scores = q @ k.transpose(-2, -1) / scale
    scores = scores.masked_fill(torch.ones(5, 5, dtype=torch.bool).triu(1), -math.inf) if mask else scores
    return scores.softmax(-1) @ v


def reordered(net: Any, x: Any) -> Any:
    lstm = net.lstm
    weights = [torch.cat([w.chunk(4)[k] for k in (0, 2, 1, 3)]) for w in lstm._flat_weights]
    zeros = torch.zeros(1, len(x), 6, dtype=torch.float64)
    return torch.lstm(x, (zeros, zeros), weights, True, 1, 0.0, False, False, True)[0]


def reset_before(net: Any, x: Any) -> Any:
    w, u, b, c = net.gru._flat_weights
    h, steps = torch.zeros(len(x), 6, dtype=torch.float64), []
    for now in x.unbind(1):
        r = torch.sigmoid(now @ w[:6].T + b[:6] + h @ u[:6].T + c[:6])
        z = torch.sigmoid(now @ w[6:12].T + b[6:12] + h @ u[6:12].T + c[6:12])
        n = torch.tanh(now @ w[12:].T + b[12:] + (r * h) @ u[12:].T + c[12:])
        h = (1 - z) * n + z * h
        steps.append(h)
    return torch.stack(steps, 1)


def attended(net: Any, x: Any, **options: Any) -> Any:
    # Not seen as a call of the module, so that only what it returns is compared.
    return net.mha.forward(x, x, x, need_weights=False, **options)[0]


def scaled(net: Any, x: Any) -> Any:
    parts = F.linear(x, net.mha.in_proj_weight, net.mha.in_proj_bias).chunk(3, -1)
    q, k, v = (part.unflatten(-1, (2, 4)).transpose(1, 2) for part in parts)
    return net.mha.out_proj(F.scaled_dot_product_attention(q, k, v, scale=1.0).transpose(1, 2).flatten(2))


CAUSAL = torch.ones(5, 5, dtype=torch.bool).triu(1)
LSTM, GRU = (lambda: torch.nn.LSTM(8, 6, batch_first=True)), (lambda: torch.nn.GRU(8, 6, batch_first=True))
MHA = lambda: torch.nn.MultiheadAttention(8, 2, batch_first=True)  # noqa: E731
BOTH_WAYS = lambda: torch.nn.LSTM(8, 6, batch_first=True, bidirectional=True)  # noqa: E731

DENSE, QKV = (lambda: torch.nn.Linear(8, 8)), (lambda: torch.nn.Linear(8, 24))
PAIRS: Mapping[str, tuple[str, Pair]] = {
    "average pooling": (
        "count_include_pad",
        on_images(lambda x: F.avg_pool2d(x, 3, 2, 1), lambda x: F.avg_pool2d(x, 3, 2, 1, count_include_pad=False)),
    ),
    "rounding the size up": (
        "ceil_mode",
        on_images(lambda x: F.max_pool2d(x, 4, 3), lambda x: F.max_pool2d(x, 4, 3, ceil_mode=True)),
    ),
    "leaky slope, solved for": (
        "leaky_slope",
        on_images(lambda x: F.leaky_relu(x, 0.01), lambda x: F.leaky_relu(x, 0.0173)),
    ),
    "a constant": ("constant", on_images(lambda x: x / 2 + 1, lambda x: x / 2.5 + 1)),
    "a constant in float32": (
        "float32_constant",
        on_images(lambda x: torch.tanh(x * 0.1), lambda x: torch.tanh(x * float(np.float32(0.1)))),
    ),
    "GLU": ("glu_halves", on_images(lambda x: F.glu(x, 1), lambda x: torch.sigmoid(x[:, :4]) * x[:, 4:])),
    "pixel unshuffle": (
        "pixel_shuffle_order",
        on_images(
            lambda x: F.pixel_unshuffle(x, 2),
            lambda x: F.pixel_unshuffle(x, 2).unflatten(1, (8, 4)).transpose(1, 2).flatten(1, 2),
        ),
    ),
    "channel shuffle": (
        "channel_order",
        on_images(lambda x: F.channel_shuffle(x, 2), lambda x: F.channel_shuffle(x, 4)),
    ),
    "flattened with the channels last": (
        "flatten_order",
        on_images(lambda x: x.flatten(1), lambda x: x.permute(0, 2, 3, 1).flatten(1)),
    ),
    "bicubic corners": (
        "align_corners",
        on_images(
            lambda x: F.interpolate(x, (11, 13), mode="bicubic", align_corners=True),
            lambda x: F.interpolate(x, (11, 13), mode="bicubic", align_corners=False),
        ),
    ),
    "antialiasing": (
        "antialias",
        on_images(
            lambda x: F.interpolate(x, (3, 5), mode="bilinear"),
            lambda x: F.interpolate(x, (3, 5), mode="bilinear", antialias=True),
        ),
    ),
    "nearest": (
        "half_pixel",
        on_images(lambda x: F.interpolate(x, (3, 5)), lambda x: F.interpolate(x, (3, 5), mode="nearest-exact")),
    ),
    "maximum over space": (
        "pooling",
        on_images(lambda x: F.adaptive_avg_pool2d(x, 1), lambda x: F.adaptive_max_pool2d(x, 1)),
    ),
    "a sum for a mean": ("pooling", on_images(lambda x: x.mean((2, 3)), lambda x: x.sum((2, 3)))),
    "variance by hand": (
        "unbiased_variance",
        on_images(lambda x: x / x.var(1, keepdim=True, unbiased=False), lambda x: x / x.var(1, keepdim=True)),
    ),
    "instance norm": (
        "unbiased_variance",
        on_images(F.instance_norm, lambda x: (x - x.mean((2, 3), True)) / (x.var((2, 3), keepdim=True) + 1e-5).sqrt()),
    ),
    "order of norm and activation": (
        "order",
        on_sequences(
            lambda net, x: net.out(net.norm(F.gelu(net.dense(x)))),
            lambda net, x: net.out(F.gelu(net.norm(net.dense(x)))),
            dense=DENSE,
            norm=lambda: torch.nn.LayerNorm(8),
            out=DENSE,
        ),
    ),
    "RMS norm by hand": (
        "eps",
        on_sequences(lambda net, x: rms(net.dense(x), 1e-6), lambda net, x: rms(net.dense(x), 2e-4), dense=DENSE),
    ),
    "ε out of the root by hand": (
        "eps_outside",
        on_sequences(
            lambda net, x: rms(net.dense(x), 1e-3), lambda net, x: rms(net.dense(x), 1e-3, outside=True), dense=DENSE
        ),
    ),
    "ε into the root by hand": (
        "eps_inside",
        on_sequences(
            lambda net, x: rms(net.dense(x), 1e-3, outside=True), lambda net, x: rms(net.dense(x), 1e-3), dense=DENSE
        ),
    ),
    "softmax over another axis": (
        "softmax_axis",
        on_sequences(lambda net, x: net.dense(x).softmax(-1), lambda net, x: net.dense(x).softmax(1), dense=DENSE),
    ),
    "attention written out, q and k": (
        "q_k",
        on_sequences(written_out, lambda net, x: written_out(net, x, exchanged=True), qkv=QKV),
    ),
    "attention written out, scale": (
        "attention_scale",
        on_sequences(written_out, lambda net, x: written_out(net, x, scale=1.0), qkv=QKV),
    ),
    "attention written out, mask": (
        "mask",
        on_sequences(written_out, lambda net, x: written_out(net, x, mask=False), qkv=QKV),
    ),
    "multi-head attention, mask": (
        "mask",
        on_sequences(attended, lambda net, x: attended(net, x, attn_mask=CAUSAL), mha=MHA),
    ),
    "multi-head attention, scale": (
        "attention_scale",
        on_sequences(attended, lambda net, x: scaled(net, x), mha=MHA),
    ),
    "gates of an LSTM": ("gate_order", on_sequences(lambda net, x: net.lstm(x)[0], reordered, lstm=LSTM)),
    "reset of a GRU": ("gru_reset", on_sequences(lambda net, x: net.gru(x)[0], reset_before, gru=GRU)),
    "directions of an LSTM": (
        "direction_order",
        on_sequences(
            lambda net, x: net.lstm(x)[0],
            lambda net, x: torch.cat(net.lstm.forward(x)[0].chunk(2, -1)[::-1], -1),
            lstm=BOTH_WAYS,
        ),
    ),
}
