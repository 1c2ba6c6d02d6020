"""The planted mistakes: Flax networks with one convention that is not PyTorch's."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from benchmarks.conventions.cnn import Cnn
from benchmarks.conventions.transformer import Transformer
from benchmarks.conventions.unet import Unet

Conventions = Cnn | Unet | Transformer


class Planted(NamedTuple):
    """A mistake: PyTorch's conventions and JAX's, where they part, and the name of the wrong convention.

    `place` is a layer, or "a → b" between two layers, with PyTorch's names.
    """

    name: str
    torch: Conventions
    jax: Conventions
    place: str
    convention: str


def _cnn(name: str, place: str, convention: str, right: Cnn | None = None, /, **wrong: Any) -> Planted:
    right = right or Cnn()
    return Planted(f"CNN: {name}", right, replace(right, **wrong), place, convention)


def _unet(name: str, place: str, convention: str, right: Unet | None = None, /, **wrong: Any) -> Planted:
    right = right or Unet()
    return Planted(f"U-Net: {name}", right, replace(right, **wrong), place, convention)


def _transformer(name: str, place: str, convention: str, right: Transformer | None = None, /, **wrong: Any) -> Planted:
    right = right or Transformer()
    return Planted(f"transformer: {name}", right, replace(right, **wrong), place, convention)


JAX_CUBIC = "cubic, a = −0.5"
ROOT_20 = float(np.float32(math.sqrt(20)))
HEAD = "attention.value → attention.out"

PLANTED = (
    _cnn("ε of batch norm 0.001", "bn1", "eps", eps=1e-3),
    _cnn("ε of batch norm 3e-4", "bn1", "eps", eps=3e-4),
    _cnn("ε beside the root", "bn1", "eps_outside", eps_outside=True),
    _cnn("statistics of the batch", "bn1", "statistics", statistics="batch"),
    _cnn("variance taken for a deviation", "bn1", "deviation", statistics="deviation"),
    _cnn("slope 0.2 for 0.01", "bn1 → conv2", "leaky_slope", first="leaky 0.2"),
    _cnn("slope 0.15 for 0", "bn1 → conv2", "leaky_slope", Cnn(first="relu"), first="leaky 0.15"),
    _cnn("padding left out of the mean", "bn1 → conv2", "count_include_pad", counted=False),
    _cnn("maximum for the mean", "bn1 → conv2", "pooling", pool="max"),
    _cnn("padding SAME with stride 2", "conv1", "padding", pads="SAME"),
    _cnn("padding by reflection", "conv2", "padding_mode", mode="reflect"),
    _cnn("kernel flipped", "conv2", "flipped_kernel", kernel="flipped"),
    _cnn("kernel's axes exchanged", "conv2", "kernel_axes", kernel="height and width exchanged"),
    _cnn("ReLU for ReLU6", "bn2 → grouped", "activation", second="relu"),
    _cnn("activation before the norm", "conv2 → bn2", "order", Cnn(second="silu"), order="norm last"),
    _cnn("groups of channels spread", "grouped", "group_order", spread=True),
    _cnn("GELU by tanh", "grouped → fc1", "gelu", third="gelu_tanh"),
    _cnn("quick GELU for GELU by tanh", "grouped → fc1", "gelu", Cnn(third="gelu_tanh"), third="quick_gelu"),
    _cnn("pooled SAME", "grouped → fc1", "padding", max_pads=((0, 1), (0, 1))),
    _cnn("maximum with zeros around", "grouped → fc1", "padding_value", Cnn(third="none"), zeros=True),
    _cnn("channels flattened first", "grouped → fc1", "flatten_order", flatten="first"),
    _cnn("swish for hard swish", "fc1 → fc2", "activation", last="silu"),
    _cnn("activation left out", "fc1 → fc2", "activation", last="none"),
    _cnn("inputs divided by 255", "inputs → conv1", "input_scale", scale=1 / 255),
    _cnn("inputs in [−1, 1]", "inputs → conv1", "input_normalisation", scale=2.0, shift=-1.0),
    _cnn("softmax at the end", "fc2 → output", "activation", end="softmax"),
    _unet("ε of group norm 1e-6", "norm1", "eps", eps=1e-6),
    _unet("ε beside the root", "norm1", "eps_outside", eps_outside=True),
    _unet("two groups for four", "norm1", "groups", groups=2),
    _unet("groups of channels spread", "norm1", "group_order", spread=True),
    _unet("normalised pixel by pixel", "norm1", "norm_axes", pixels=True),
    _unet("variance with n − 1", "norm1", "unbiased_variance", unbiased=True),
    _unet("Mish for SiLU", "norm1 → middle", "activation", act="mish"),
    _unet("antialiased", "norm1 → middle", "antialias", antialias=True),
    _unet("nearest for linear", "norm1 → middle", "resize_method", down="nearest"),
    _unet("nearest of the centres for linear", "norm1 → middle", "resize_method", down="nearest of the centres"),
    _unet(
        "nearest of the centres", "norm1 → middle", "half_pixel", Unet(down="nearest"), down="nearest of the centres"
    ),
    _unet(
        "cubic with a = −0.5 and no edges", "norm1 → middle", "cubic_coefficient", Unet(down="cubic"), down=JAX_CUBIC
    ),
    _unet("residual branch halved", "norm2 → up", "residual_scale", residual=0.5),
    _unet("residual sum divided by √2", "norm2 → up", "residual_scale", residual_total=1 / math.sqrt(2)),
    _unet("residual branch left out", "norm2 → up", "residual", residual=0.0),
    _unet("transposed kernel flipped", "up", "flipped_kernel", kernel="flipped"),
    _unet("transposed padding SAME", "up", "transposed_padding", transposed_pads="SAME"),
    _unet("joined in the other order", "up → joined", "concatenation_order", cat="skip first"),
    _unet("corners aligned", "joined → outer", "align_corners", up="align_corners"),
    _unet("corners not aligned", "joined → outer", "align_corners", Unet(up="align_corners"), up="half_pixel"),
    _unet("pixels without the half", "joined → outer", "half_pixel", up="asymmetric"),
    _unet("pixel shuffle, channel last", "outer → final", "pixel_shuffle_order", shuffle="row, column, channel"),
    _unet("pixel shuffle, column first", "outer → final", "pixel_shuffle_order", shuffle="channel, column, row"),
    _transformer("ε of layer norm 1e-6", "norm1", "eps", eps=1e-6),
    _transformer("ε beside the root", "norm1", "eps_outside", eps_outside=True),
    _transformer("variance with n − 1", "norm1", "unbiased_variance", unbiased=True),
    _transformer("mean not subtracted", "norm1", "rms", centred=False),
    _transformer("ε of RMS norm 1e-5", "norm2", "eps", rms_eps=1e-5),
    _transformer("RMS norm with 1 + scale", "norm2", "one_plus_scale", one_plus=True),
    _transformer("embedding not scaled", "embed → norm1", "embedding_scale", embedding=1.0),
    _transformer("embedding scaled by 16", "embed → norm1", "embedding_scale", embedding=16.0),
    _transformer("√20 in float32", "embed → norm1", "float32_constant", Transformer(width=20), embedding=ROOT_20),
    _transformer("positions left out", "embed → norm1", "left_out", positions=False),
    _transformer("scores scaled by all heads", HEAD, "attention_scale", scale="model"),
    _transformer("scores not scaled", HEAD, "attention_scale", scale="none"),
    _transformer("scores scaled by 0.3", HEAD, "attention_scale", scale=0.3),
    _transformer("causal mask left out", HEAD, "mask", causal=False),
    _transformer("causal mask added", HEAD, "mask", Transformer(causal=False), causal=True),
    _transformer("mask of what precedes", HEAD, "mask", mask="upper"),
    _transformer("q and k exchanged", HEAD, "q_k", roles="kqv"),
    _transformer("k and v exchanged", HEAD, "q_k_v", roles="qvk"),
    _transformer("softmax over the queries", HEAD, "softmax_axis", Transformer(causal=False), softmax=-2),
    _transformer("heads split the other way", HEAD, "head_order", head_order="heads last"),
    _transformer("residual branches halved", "attention → norm2", "residual_scale", residual=0.5),
    _transformer("post-norm for pre-norm", "embed → attention.query", "pre_post_norm", norm="post"),
    _transformer("pre-norm for post-norm", "embed → norm1", "pre_post_norm", Transformer(norm="post"), norm="pre"),
    _transformer("GELU by tanh", "fc1 → fc2", "gelu", act="gelu_tanh"),
    _transformer("quick GELU", "fc1 → fc2", "gelu", act="quick_gelu"),
    _transformer("first position for the mean", "norm3 → head", "pooling", pool="first"),
    _transformer("mean for the first position", "norm3 → head", "pooling", Transformer(pool="first"), pool="mean"),
)
