"""Per-channel affine maps x_c ↦ s_c x_c + t_c, and how linear layers absorb them."""

from __future__ import annotations

import dataclasses

import numpy as np

from mathdnn_jax.errors import EventShapeError, NonFiniteError
from mathdnn_jax.nets import BatchNorm, Conv, ConvTranspose, Dense, Flatten, ScaleShift, SignBias
from mathdnn_jax.surgery.folding import Affine, normalisation, scaled
from mathdnn_jax.surgery.layer_list import Item, Linear

AFFINE = (BatchNorm, ScaleShift, SignBias)


def affine_of(item: Item) -> Affine:
    """Return the map that a BatchNorm (in eval mode), ScaleShift or SignBias computes: s = γ/√(σ² + ε), t = β − s μ.

    Raises:
        NonFiniteError: Some σ² + ε is not positive, or an array is not finite.
    """
    layer = item.layer
    if not isinstance(layer, BatchNorm):
        return Affine(item.array("sign" if isinstance(layer, SignBias) else "scale"), item.array("bias"))
    scale, shift = (item.params["scale"], item.params["bias"]) if layer.affine else (None, None)
    try:
        return normalisation(item.stats["mean"], item.stats["var"], layer.epsilon, scale, shift)
    except NonFiniteError as error:
        raise NonFiniteError(f"layer {item.name!r}: {error}") from error


def compose(first: Affine, second: Affine) -> Affine:
    """Return the composition: the first map, then the second."""
    return Affine(second.scale * first.scale, second.scale * first.shift + second.shift)


def fold_after(item: Item, affine: Affine) -> None:
    """Turn the linear layer y into s ⊙ y ⊕ t: w̃ = s w and b̃ = s b + t for each output channel."""
    layer = _linear(item)
    _check_length(item, affine, layer.features)
    kernel, bias = scaled(item.array("kernel"), item.array("bias") if layer.bias else 0.0, affine)
    item.set(kernel=kernel, bias=bias)
    item.layer = dataclasses.replace(layer, bias=True)


def fold_before(item: Item, affine: Affine) -> None:
    """Turn the linear layer y(x) into y(s ⊙ x ⊕ t), which is exact if the layer pads no zeros or t = 0.

    w̃ = w s for each input channel, and b̃ = b + Σ w t, summed over all taps and the input channels of the group.
    """
    layer = _linear(item)
    kernel = item.array("kernel")
    groups = 1 if isinstance(layer, Dense) else layer.groups
    per_group = kernel.shape[-2]
    _check_length(item, affine, groups * per_group)
    scale, shift = (part.reshape(groups, per_group).T[:, :, None] for part in affine)
    split = kernel.reshape(*kernel.shape[:-1], groups, layer.features // groups)
    taps = split.reshape(-1, *split.shape[-3:]).sum(0)
    bias = item.array("bias") if layer.bias else 0.0
    item.set(kernel=(split * scale).reshape(kernel.shape), bias=bias + (taps * shift).sum(0).reshape(-1))
    item.layer = dataclasses.replace(layer, bias=True)


def flattened(affine: Affine, flatten: Flatten, length: int) -> Affine:
    """Return the map on vectors of `length` entries that equals `affine` moved to the other side of a Flatten.

    Raises:
        EventShapeError: The length is not a multiple of the number of channels.
    """
    positions, rest = divmod(length, len(affine.scale))
    if rest:
        raise EventShapeError(f"a vector of {length} entries is not a flattened image of {len(affine.scale)} channels")
    if flatten.channels == "first":
        return Affine(*(np.repeat(part, positions) for part in affine))
    return Affine(*(np.tile(part, positions) for part in affine))


def inputs_of(item: Item) -> int:
    """Return the number of input channels of a linear layer."""
    layer = _linear(item)
    per_group = int(np.shape(item.params["kernel"])[-2])
    return per_group if isinstance(layer, Dense) else per_group * layer.groups


def _linear(item: Item) -> Linear:
    if not isinstance(item.layer, Conv | ConvTranspose | Dense):
        raise TypeError(f"{item.name} is a {item.layer.kind}, not a linear layer")
    return item.layer


def _check_length(item: Item, affine: Affine, channels: int) -> None:
    if len(affine.scale) != channels:
        raise EventShapeError(
            f"layer {item.name!r} has {channels} channels, but the normalisation next to it has {len(affine.scale)}"
        )
