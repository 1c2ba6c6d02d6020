"""Which JAX layer computes what which PyTorch submodule computes, and in which layout their outputs compare."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from parity.inference.names import tokens

CHANNELS_FIRST = (
    "Conv1d", "Conv2d", "Conv3d", "ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d", "BatchNorm1d", "BatchNorm2d",
    "BatchNorm3d", "InstanceNorm1d", "InstanceNorm2d", "InstanceNorm3d", "GroupNorm", "LayerNorm2d",
)  # fmt: skip
CHANNELS_LAST = ("Linear", "LayerNorm", "Embedding", "LSTM", "GRU", "MultiheadAttention")


def in_jax_layout(kind: str, array: np.ndarray, like: np.ndarray) -> np.ndarray | None:
    """Return a PyTorch layer's output with its channels where JAX has them, or None if no layout has JAX's shape.

    `kind` is the class of the layer. The output of a layer that always has its channels first, or always last, is
    compared in that layout; that of any other, such as a block or a ReLU, in whichever layout is nearer, and it can
    only pass if one of them agrees.
    """
    layouts = []
    if kind not in CHANNELS_LAST and array.ndim >= 3:
        layouts.append(np.moveaxis(array, 1, -1))
    if kind not in CHANNELS_FIRST or array.ndim < 3:
        layouts.append(array)
    layouts = [layout for layout in layouts if layout.shape == like.shape]
    if not layouts and array.ndim > like.ndim and array.size == like.size:
        # Pooled to one pixel, for which JAX may keep no axes.
        layouts = [array.reshape(like.shape)] if array.shape[:2] == like.shape else []
    return min(layouts, key=lambda layout: float(np.abs(layout - like).sum()), default=None)


def pair_layers(jax_names: Iterable[str], torch_names: Iterable[str], known: Mapping[str, str]) -> dict[str, str]:
    """Return {JAX layer: PyTorch submodule} in JAX's order, for layers that the rules pair or that have equal names.

    `known` has the rules' pairs. In a model of several Flax modules, every module has paths of its own, so a call is
    also recognized by the end of its path, if only one path in the rules ends like this.
    """
    names, others = list(jax_names), set(torch_names)
    alike: dict[tuple[str, ...], list[str]] = {}
    for other in others:
        alike.setdefault(tokens(other), []).append(other)
    pairs: dict[str, str] = {}
    left = dict(known)
    for name in sorted(names, key=len, reverse=True):
        layer, mark, count = name.partition("#")
        ends = [path for path in left if path == layer or path.endswith(f"/{layer}")]
        module = left.get(layer) or (left[ends[0]] if len(ends) == 1 else None)
        if module is not None and f"{module}{mark}{count}" in others:
            pairs[name] = f"{module}{mark}{count}"
            left = {path: other for path, other in left.items() if other != module or mark}
        elif module is None and len(found := alike.get(tokens(name), [])) == 1:
            pairs[name] = found[0]
    return {name: pairs[name] for name in names if name in pairs}
