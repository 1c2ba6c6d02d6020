"""The exact ways to get rid of a per-channel affine map. Each does it and returns None, or returns why it cannot."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import jax.numpy as jnp
import numpy as np

from mathdnn_jax.nets import (
    Activation,
    AvgPool,
    Conv,
    ConvTranspose,
    Dense,
    Dropout,
    Flatten,
    Layer,
    MaxPool,
    Pad,
    ScaleShift,
    SignBias,
    Upsample,
)
from mathdnn_jax.surgery.affine_map import (
    AFFINE,
    affine_of,
    compose,
    flattened,
    fold_after,
    fold_before,
    inputs_of,
)
from mathdnn_jax.surgery.folding import Affine
from mathdnn_jax.surgery.layer_list import Bench, Item

Rule = Callable[[Bench, Item], str | None]


def obstacle(layer: Layer, affine: Affine) -> str | None:
    """Why the affine map does not commute with this layer between channels of equal number; None if it does."""
    if isinstance(layer, Dropout | Upsample):
        return None
    if isinstance(layer, MaxPool):
        return "a maximum turns into a minimum where the scale is negative" if (affine.scale < 0).any() else None
    if isinstance(layer, AvgPool):
        zeros = layer.count_include_pad and any(low or high for low, high in layer.pads)
        return "its means count padded zeros, which a shift would not reach" if zeros and affine.shift.any() else None
    if isinstance(layer, Activation):
        return f"{layer.kind} does not commute with a scale and shift"
    return f"{layer.kind} stands between"


def fold_back(bench: Bench, item: Item) -> str | None:
    """Into the linear layer before it, w̃ = s w, b̃ = s b + t; or into another affine map before it."""
    affine = affine_of(item)
    for other in reversed(bench.items[: bench.index(item)]):
        if isinstance(other.layer, Conv | ConvTranspose | Dense):
            fold_after(other, affine)
            other.note("changed", f"took up {item.name} behind it", item.name)
        elif isinstance(other.layer, AFFINE):
            joined = compose(affine_of(other), affine)
            other.layer, other.stats, other.params = ScaleShift(), {}, {}
            other.set(scale=joined.scale, bias=joined.shift)
            other.note("replaced", f"joined with {item.name} into one scale and shift", item.name)
        else:
            reason = obstacle(other.layer, affine)
            if reason is None:
                continue
            return f"not into a layer before it: {other.name}: {reason}"
        item.note("removed", f"folded into {other.name}, which comes before it", other.name)
        bench.remove(item)
        return None
    return "not into a layer before it: there is none"


def fold_forward(bench: Bench, item: Item) -> str | None:
    """Into the linear layer behind it, w̃ = w s, b̃ = b + Σ w t."""
    affine = affine_of(item)
    found = _linear_behind(bench, item, affine)
    if isinstance(found, str):
        return f"not into a layer behind it: {found}"
    other, affine = found
    reason = _border(other.layer, affine)
    if reason is not None:
        return f"not into a layer behind it: {other.name}: {reason}"
    fold_before(other, affine)
    other.note("changed", f"took up {item.name} before it", item.name)
    item.note("removed", f"folded into {other.name}, which comes behind it", other.name)
    bench.remove(item)
    return None


def pad_with_values(bench: Bench, item: Item) -> str | None:
    """Into the zero-padded convolution behind it: pad every channel with v = −t/s, which the map takes to zero."""
    if isinstance(item.layer, SignBias):
        return "not by padding with values, which costs as much as the sign and bias"
    affine = affine_of(item)
    found = _linear_behind(bench, item, affine)
    if isinstance(found, str):
        return f"not by padding: {found}"
    other, affine = found
    layer = other.layer
    if not isinstance(layer, Conv):
        return f"not by padding: {other.name} is no convolution that pads"
    needed = affine.shift != 0
    lost = np.flatnonzero(needed & (affine.scale == 0))
    if lost.size:
        return (
            f"not by padding {other.name} with values: the scale is 0 in channel {lost[0]} "
            f"({lost.size} of {len(needed)}), so no value is mapped to the zeros that {other.name} pads with"
        )
    with np.errstate(over="ignore"):  # what overflows is beyond the limit
        value = np.divide(-affine.shift, affine.scale, out=np.zeros_like(affine.shift), where=needed)
    # Beyond this a product of a small kernel entry with the value would be lost to underflow.
    limit = float(jnp.finfo(other.dtype).tiny) ** -0.5
    if np.abs(value).max() > limit:
        return (
            f"not by padding {other.name} with values: channel {np.abs(value).argmax()} would need "
            f"{value[np.abs(value).argmax()]:.3g}, which {other.dtype} multiplies without precision"
        )
    fold_before(other, affine)
    pads = layer.pads
    other.layer = dataclasses.replace(layer, padding=0, bias=True)
    other.note("changed", f"took up {item.name} before it, its padding is now a layer", item.name)
    pad = bench.insert_before(other, f"{other.name}_pad", Pad(pads), value=value)
    pad.note("inserted", f"pads for {other.name} with the values that {item.name} maps to zero", other.name, item.name)
    item.note("removed", f"folded into {other.name}, which comes behind it, with {pad.name}", other.name, pad.name)
    bench.remove(item)
    return None


def sign_bias(bench: Bench, item: Item) -> str | None:
    """S ⊙ σ(w̃ x + b̃) ⊕ B with w̃ = |s| w, b̃ = |s| b, S = sign s (+1 for 0), B = t; σ positively homogeneous."""
    affine = affine_of(item)
    if isinstance(item.layer, SignBias) and (np.abs(affine.scale) == 1).all():
        return "it is a sign and bias already"
    through = False
    for other in reversed(bench.items[: bench.index(item)]):
        layer = other.layer
        if isinstance(layer, Conv | ConvTranspose | Dense):
            if not through:
                return f"no activation stands between {other.name} and it"
            fold_after(other, Affine(np.abs(affine.scale), np.zeros_like(affine.scale)))
            other.note("changed", f"took up the magnitude of {item.name}'s scale", item.name)
            item.layer, item.stats, item.params = SignBias(), {}, {}
            item.set(sign=np.where(affine.scale < 0, -1.0, 1.0), bias=affine.shift)
            item.note("replaced", f"a sign and bias; the magnitude of its scale is in {other.name}", other.name)
            return None
        if isinstance(layer, Activation) and not layer.homogeneous:
            return f"no sign and bias: {layer.kind} ({other.name}) is not positively homogeneous"
        if not isinstance(layer, Activation | Dropout | Upsample | MaxPool | AvgPool):
            return f"no sign and bias: {other.name}: {layer.kind} stands between"
        through = through or isinstance(layer, Activation)
    return "no sign and bias: there is no linear layer before it"


def _linear_behind(bench: Bench, item: Item, affine: Affine) -> tuple[Item, Affine] | str:
    flatten: Flatten | None = None
    for other in bench.items[bench.index(item) + 1 :]:
        layer = other.layer
        if isinstance(layer, Conv | ConvTranspose | Dense):
            return other, affine if flatten is None else flattened(affine, flatten, inputs_of(other))
        if isinstance(layer, Flatten):
            flatten = flatten or layer
            continue
        reason = obstacle(layer, affine)
        if reason is not None:
            return f"{other.name}: {reason}"
    return "there is none"


def _border(layer: Layer, affine: Affine) -> str | None:
    if not affine.shift.any():
        return None
    if isinstance(layer, Conv) and any(low or high for low, high in layer.pads):
        return "it pads with zeros, which the shift does not reach"
    if isinstance(layer, ConvTranspose):
        single = set(layer.kernel) == {1} and set(layer.strides) == {1}
        if not single or any(layer.crops) or any(layer.extras):
            return "not every output of a transposed convolution gets all taps, so that the shift is no constant there"
    return None
