"""The exact ways in which neighbouring layers absorb a per-channel affine map.

Each function rewrites the list of layers and returns None; or, if that is not possible exactly, it changes nothing and
returns the reason.
"""

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
from mathdnn_jax.surgery.layer_list import Item, LayerList

Absorption = Callable[[LayerList, Item], str | None]


def obstacle(layer: Layer, affine: Affine) -> str | None:
    """Return why the affine map does not commute with this layer, or None if it does."""
    if isinstance(layer, Dropout | Upsample):
        return None
    if isinstance(layer, MaxPool):
        return "a maximum turns into a minimum where the scale is negative" if (affine.scale < 0).any() else None
    if isinstance(layer, AvgPool):
        zeros = layer.count_include_pad and any(low or high for low, high in layer.pads)
        return "its means count padded zeros, which a shift would not change" if zeros and affine.shift.any() else None
    if isinstance(layer, Activation):
        return f"{layer.kind} does not commute with a scale and shift"
    return f"{layer.kind} stands between"


def absorb_into_layer_before(layers: LayerList, item: Item) -> str | None:
    """Fold into the linear layer before it, w̃ = s w, b̃ = s b + t; or merge with another affine map before it."""
    affine = affine_of(item)
    for other in reversed(layers.items[: layers.index(item)]):
        if isinstance(other.layer, Conv | ConvTranspose | Dense):
            fold_after(other, affine)
            other.note("changed", f"absorbed {item.name}, which follows it", item.name)
        elif isinstance(other.layer, AFFINE):
            joined = compose(affine_of(other), affine)
            other.layer, other.stats, other.params = ScaleShift(), {}, {}
            other.set(scale=joined.scale, bias=joined.shift)
            other.note("replaced", f"merged with {item.name} into one scale and shift", item.name)
        else:
            reason = obstacle(other.layer, affine)
            if reason is None:
                continue
            return f"not into a layer before it: {other.name}: {reason}"
        item.note("removed", f"folded into {other.name}, which comes before it", other.name)
        layers.remove(item)
        return None
    return "not into a layer before it: there is none"


def absorb_into_layer_after(layers: LayerList, item: Item) -> str | None:
    """Fold into the linear layer after it: w̃ = w s, b̃ = b + Σ w t."""
    affine = affine_of(item)
    found = _linear_layer_after(layers, item, affine)
    if isinstance(found, str):
        return f"not into a layer after it: {found}"
    other, affine = found
    reason = _border_obstacle(other.layer, affine)
    if reason is not None:
        return f"not into a layer after it: {other.name}: {reason}"
    fold_before(other, affine)
    other.note("changed", f"absorbed {item.name}, which comes before it", item.name)
    item.note("removed", f"folded into {other.name}, which follows it", other.name)
    layers.remove(item)
    return None


def absorb_into_padded_convolution(layers: LayerList, item: Item) -> str | None:
    """Fold into the zero-padded convolution after it, which then pads with v = −t/s, the values mapped to zero."""
    if isinstance(item.layer, SignBias):
        return "not by padding with values, which would cost as much as the sign and bias"
    affine = affine_of(item)
    found = _linear_layer_after(layers, item, affine)
    if isinstance(found, str):
        return f"not by padding: {found}"
    other, affine = found
    layer = other.layer
    if not isinstance(layer, Conv):
        return f"not by padding: {other.name} is not a convolution that pads"
    needed = affine.shift != 0
    lost = np.flatnonzero(needed & (affine.scale == 0))
    if lost.size:
        return (
            f"not by padding {other.name} with values: the scale is 0 in channel {lost[0]} "
            f"({lost.size} of {len(needed)}), so no value is mapped to the zeros with which {other.name} pads"
        )
    with np.errstate(over="ignore"):  # whatever overflows is beyond the limit
        value = np.divide(-affine.shift, affine.scale, out=np.zeros_like(affine.shift), where=needed)
    # Beyond this limit, the product of the value and a small kernel entry would underflow.
    limit = float(jnp.finfo(other.dtype).tiny) ** -0.5
    if np.abs(value).max() > limit:
        return (
            f"not by padding {other.name} with values: channel {np.abs(value).argmax()} would need "
            f"{value[np.abs(value).argmax()]:.3g}, which {other.dtype} multiplies without precision"
        )
    fold_before(other, affine)
    pads = layer.pads
    other.layer = dataclasses.replace(layer, padding=0, bias=True)
    other.note("changed", f"absorbed {item.name}, which comes before it; its padding is now a layer", item.name)
    pad = layers.insert_before(other, f"{other.name}_pad", Pad(pads), value=value)
    pad.note(
        "inserted", f"pads {other.name}'s images with the values that {item.name} maps to zero", other.name, item.name
    )
    item.note(
        "removed", f"folded into {other.name}, which follows it, with the help of {pad.name}", other.name, pad.name
    )
    layers.remove(item)
    return None


def reduce_to_sign_and_bias(layers: LayerList, item: Item) -> str | None:
    """Rewrite as S ⊙ σ(w̃ x + b̃) ⊕ B for homogeneous σ: w̃ = |s| w, b̃ = |s| b, S = sign s (+1 for 0), B = t."""
    affine = affine_of(item)
    if isinstance(item.layer, SignBias) and (np.abs(affine.scale) == 1).all():
        return "it already is a sign and bias"
    through = False
    for other in reversed(layers.items[: layers.index(item)]):
        layer = other.layer
        if isinstance(layer, Conv | ConvTranspose | Dense):
            if not through:
                return f"there is no activation between {other.name} and it"
            fold_after(other, Affine(np.abs(affine.scale), np.zeros_like(affine.scale)))
            other.note("changed", f"absorbed the magnitude of the scale of {item.name}", item.name)
            item.layer, item.stats, item.params = SignBias(), {}, {}
            item.set(sign=np.where(affine.scale < 0, -1.0, 1.0), bias=affine.shift)
            item.note("replaced", f"a sign and bias; {other.name} absorbed the magnitude of its scale", other.name)
            return None
        if isinstance(layer, Activation) and not layer.homogeneous:
            return f"no sign and bias: {layer.kind} ({other.name}) is not positively homogeneous"
        if not isinstance(layer, Activation | Dropout | Upsample | MaxPool | AvgPool):
            return f"no sign and bias: {other.name}: {layer.kind} stands between"
        through = through or isinstance(layer, Activation)
    return "no sign and bias: there is no linear layer before it"


def _linear_layer_after(layers: LayerList, item: Item, affine: Affine) -> tuple[Item, Affine] | str:
    """Return the next linear layer and the map as it arrives there, or why the map does not reach one."""
    flatten: Flatten | None = None
    for other in layers.items[layers.index(item) + 1 :]:
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


def _border_obstacle(layer: Layer, affine: Affine) -> str | None:
    """Return why the border of the image keeps the linear layer from absorbing the map before it, or None."""
    if not affine.shift.any():
        return None
    if isinstance(layer, Conv) and any(low or high for low, high in layer.pads):
        return "it pads with zeros, which the shift does not change"
    if isinstance(layer, ConvTranspose):
        single = set(layer.kernel) == {1} and set(layer.strides) == {1}
        if not single or any(layer.extras):
            return (
                "some outputs of a transposed convolution do not receive all taps, so the shift is not constant there"
            )
    return None
