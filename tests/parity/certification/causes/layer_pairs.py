"""Pairs whose second network has another convention of a normalisation, a convolution, a pooling or an attention."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

from .pairs import Pair, drawn, on_images, on_sequences

F = torch.nn.functional
MEAN, SHIFT, SCALE = drawn(8), drawn(8, scale=0.5), drawn(8, shift=2.0)
VARIANCE = drawn(8).square() + 0.1
KERNEL, GROUPED, BIAS = drawn(8, 8, 3, 3), drawn(8, 4, 3, 3, scale=0.7), drawn(8)


def batch_norm(x: Any, *, mean: Any = MEAN, variance: Any = VARIANCE, scale: Any = SCALE, shift: Any = SHIFT) -> Any:
    return F.batch_norm(x, mean, variance, scale, shift, mean is None, 0.0, 1e-3)


def group_norm(x: Any, groups: int = 4) -> Any:
    return F.group_norm(x, groups, SCALE, SHIFT)


def spread(x: Any) -> Any:
    mixed = F.group_norm(x.unflatten(1, (2, 4)).transpose(1, 2).flatten(1, 2), 4)
    return mixed.unflatten(1, (4, 2)).transpose(1, 2).flatten(1, 2) * along(SCALE) + along(SHIFT)


def pixel_norm(x: Any) -> Any:
    return F.layer_norm(x.movedim(1, -1).unflatten(-1, (4, 2)), (2,)).flatten(-2).movedim(-1, 1) * along(SCALE) + along(
        SHIFT
    )


def along(part: Any) -> Any:
    return part.view(1, -1, 1, 1)


def layer_norm(net: Any, x: Any) -> Any:
    return F.layer_norm(net.dense(x), (8,), SCALE, SHIFT, 1e-3)


def rms_norm(net: Any, x: Any) -> Any:
    return F.rms_norm(net.dense(x), (8,), SCALE, 1e-3)


def by_hand(
    *, centred: bool = True, shift: float = 1.0, divisor: int = 8, one: float = 0.0
) -> Callable[[Any, Any], Any]:
    def normalised(net: Any, x: Any) -> Any:
        y = net.dense(x)
        y = y - y.mean(-1, keepdim=True) if centred else y
        root = (y.square().sum(-1, keepdim=True) / divisor + 1e-3).sqrt()
        return y / root * (one + SCALE) + shift * SHIFT

    return normalised


def convolved(x: Any, weight: Any = KERNEL, **options: Any) -> Any:
    return F.conv2d(x, weight, **{"bias": BIAS, "padding": 1, **options})


def doubled(x: Any, weight: Any = KERNEL) -> Any:
    return F.conv_transpose2d(x, weight, BIAS, stride=2, padding=1, output_padding=1)


def attended(q: str = "q", k: str = "k", v: str = "v", **options: Any) -> Callable[[Any, Any], Any]:
    def attend(net: Any, x: Any) -> Any:
        parts = dict(zip("qkv", net.qkv(x).unflatten(-1, (3, 2, 4)).permute(2, 0, 3, 1, 4), strict=True))
        return F.scaled_dot_product_attention(parts[q], parts[k], parts[v], **options)

    return attend


DENSE, QKV = (lambda: torch.nn.Linear(8, 8)), (lambda: torch.nn.Linear(8, 24))
SOME = torch.tensor([[True, False, True, True, False]] * 5).logical_or(torch.eye(5, dtype=torch.bool))


def normed(right: Any, wrong: Any) -> Pair:
    return on_sequences(right, wrong, dense=DENSE)


def on_attention(wrong: Any, right: Any = None) -> Pair:
    return on_sequences(right or attended(), wrong, qkv=QKV)


LAYER_PAIRS: Mapping[str, tuple[str, Pair]] = {
    "statistics": ("statistics", on_images(batch_norm, lambda x: batch_norm(x, mean=None, variance=None))),
    "deviation": ("deviation", on_images(batch_norm, lambda x: batch_norm(x, variance=(VARIANCE + 1e-3) ** 2 - 1e-3))),
    "ε beside the root": (
        "eps_outside",
        on_images(batch_norm, lambda x: batch_norm(x, variance=(VARIANCE.sqrt() + 1e-3) ** 2 - 1e-3)),
    ),
    "without the scale": ("no_scale", on_images(batch_norm, lambda x: batch_norm(x, scale=None))),
    "without the shift": ("no_shift", on_images(batch_norm, lambda x: batch_norm(x, shift=None))),
    "one plus the scale": ("one_plus_scale", on_images(batch_norm, lambda x: batch_norm(x, scale=1 + SCALE))),
    "groups": ("groups", on_images(group_norm, lambda x: group_norm(x, 2))),
    "spread groups": ("group_order", on_images(group_norm, spread)),
    "norm of pixels": ("norm_axes", on_images(group_norm, pixel_norm)),
    "layer norm with n − 1": ("unbiased_variance", normed(layer_norm, by_hand(divisor=7))),
    "layer norm without the mean": ("rms", normed(layer_norm, by_hand(centred=False))),
    "RMS norm with the mean": ("centred", normed(rms_norm, by_hand(shift=0.0))),
    "RMS norm with one plus the scale": (
        "one_plus_scale",
        normed(rms_norm, by_hand(centred=False, shift=0.0, one=1.0)),
    ),
    "SAME": (
        "padding",
        on_images(lambda x: convolved(x, stride=2), lambda x: convolved(F.pad(x, (0, 1, 0, 1)), stride=2, padding=0)),
    ),
    "reflected": (
        "padding_mode",
        on_images(convolved, lambda x: convolved(F.pad(x, (1, 1, 1, 1), "reflect"), padding=0)),
    ),
    "flipped": ("flipped_kernel", on_images(convolved, lambda x: convolved(x, KERNEL.flip(2, 3)))),
    "height and width": ("kernel_axes", on_images(convolved, lambda x: convolved(x, KERNEL.transpose(2, 3)))),
    "in and out": ("kernel_in_out", on_images(convolved, lambda x: convolved(x, KERNEL.transpose(0, 1)))),
    "without the bias": ("no_bias", on_images(convolved, lambda x: convolved(x, bias=None))),
    "groups of a convolution": (
        "group_order",
        on_images(
            lambda x: convolved(x, GROUPED, groups=2),
            lambda x: convolved(x, GROUPED[torch.arange(8).view(4, 2).T.flatten()], groups=2),
        ),
    ),
    "transposed, flipped": ("flipped_kernel", on_images(doubled, lambda x: doubled(x, KERNEL.flip(2, 3)))),
    "transposed, cut elsewhere": (
        "transposed_padding",
        on_images(doubled, lambda x: F.conv_transpose2d(x, KERNEL, BIAS, stride=2)[..., :16, :16]),
    ),
    "pooled SAME": (
        "padding",
        on_images(lambda x: F.max_pool2d(x, 3, 2, 1), lambda x: F.max_pool2d(F.pad(x, (0, 1, 0, 1), value=-1e9), 3, 2)),
    ),
    "pooled with zeros": (
        "padding_value",
        on_images(lambda x: F.max_pool2d(x - 2, 3, 2, 1), lambda x: F.max_pool2d(F.pad(x - 2, (1, 1, 1, 1)), 3, 2)),
    ),
    "pooled by the mean": ("pooling", on_images(lambda x: F.max_pool2d(x, 2), lambda x: F.avg_pool2d(x, 2))),
    "GELU": ("gelu", on_images(F.gelu, lambda x: F.gelu(x, approximate="tanh"))),
    "quick GELU": ("gelu", on_images(F.gelu, lambda x: x * torch.sigmoid(1.702 * x))),
    "hard swish": ("activation", on_images(F.silu, F.hardswish)),
    "an activation at the end": ("activation", on_images(lambda x: x, torch.sigmoid)),
    "q and k": ("q_k", on_attention(attended("k", "q"))),
    "k and v": ("q_k_v", on_attention(attended(k="v", v="k"))),
    "causal": ("mask", on_attention(attended(is_causal=True))),
    "complement of a mask": ("mask", on_attention(attended(attn_mask=~SOME), attended(attn_mask=SOME))),
    "scale by all heads": ("attention_scale", on_attention(attended(scale=8**-0.5))),
}
