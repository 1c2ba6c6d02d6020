"""Removes batch norms from a trained network, wherever that is possible exactly."""

from __future__ import annotations

from typing import Any

from mathdnn_jax.nets import BatchNorm, Sequential
from mathdnn_jax.surgery.absorption import (
    Absorption,
    absorb_into_layer_after,
    absorb_into_layer_before,
    absorb_into_padded_convolution,
    reduce_to_sign_and_bias,
)
from mathdnn_jax.surgery.affine_map import AFFINE
from mathdnn_jax.surgery.layer_list import Item, LayerList, Variables
from mathdnn_jax.surgery.report import SurgeryReport

# Tried in this order: first those that leave no layer in place of the batch norm.
_ABSORPTIONS: tuple[Absorption, ...] = (
    absorb_into_layer_before,
    absorb_into_layer_after,
    reduce_to_sign_and_bias,
    absorb_into_padded_convolution,
)


def remove_batch_norm(network: Sequential, variables: Variables) -> tuple[Sequential, dict[str, Any], SurgeryReport]:
    """Return a network without batch norms that computes the same in eval mode.

    In eval mode a batch norm is x ↦ s ⊙ x ⊕ t with s = γ/√(σ² + ε) and t = β − s μ. The first of these that is exact
    is done:

    - the linear layer before it absorbs it, w̃ = s w, b̃ = s b + t (convolutions, also transposed or grouped, dense);
    - the linear layer after it absorbs it, w̃ = w s, b̃ = b + Σ w t, if that layer pads no zeros or t = 0;
    - after a positively homogeneous activation it becomes a sign and bias S ⊙ σ(w̃ x + b̃) ⊕ B; see `to_sign_bias`;
    - a zero-padded convolution after it absorbs it and then pads with the values −t/s, which the map takes to zero;
    - or it stays, and the report says why.

    Dropout, repetition, pooling and flattening between the two layers do not matter wherever the map commutes with
    them, and consecutive batch norms are merged. Layers of kind `ScaleShift` and `SignBias` are treated in the same
    way. Everything is computed in float64 on the host and rounded once, to the dtype that each array had; arrays that
    do not change are not copied. The networks are equal in eval mode only: the new one has no statistics to update.

    Returns:
        (network, variables, report). The inputs are not changed.

    Raises:
        ConfigurationError: The network is not a `Sequential`.
        ParameterStructureError: The variables do not belong to the network, or running statistics are missing.
        NonFiniteError: A variance + ε is not positive, or a new array does not fit into its dtype.
        EventShapeError: Arrays have the wrong shape, or the wrong number of channels for their neighbours.

    Source: course 001, P1; course 004, P3; course 000, Q1.

    Example:
        >>> import jax, mathdnn_jax as mj
        >>> net = mj.Sequential(conv=mj.nets.Conv(4, 3), bn=mj.nets.BatchNorm(), relu=mj.nets.Relu())
        >>> x = jax.numpy.ones((1, 8, 8, 3))
        >>> variables = jax.jit(net.init)(jax.random.key(0), x)
        >>> folded, new_variables, report = mj.remove_batch_norm(net, variables)
        >>> print(report.describe())
        conv  Conv          changed   absorbed bn, which follows it
        bn    BatchNorm     removed   folded into conv, which comes before it
        relu  Relu          kept
        >>> bool(abs(folded.apply(new_variables, x) - net.apply(variables, x)).max() < 1e-6)
        True
    """
    layers = LayerList(network, variables)
    while _one_step(layers):
        pass
    for item in [item for item in layers.items if isinstance(item.layer, BatchNorm)]:
        reasons = [absorb(layers, item) for absorb in _ABSORPTIONS]
        item.note("left", "; ".join(reason for reason in reasons if reason is not None))
    return layers.assemble("remove_batch_norm")


def _one_step(layers: LayerList) -> bool:
    """Do the first absorption that is exact; each removes an affine layer or turns one into a sign and bias."""
    for absorb in _ABSORPTIONS:
        for item in [item for item in layers.items if isinstance(item.layer, AFFINE)]:
            if absorb(layers, item) is None:
                _remove_identity(layers, item)
                return True
    return False


def _remove_identity(layers: LayerList, item: Item) -> None:
    """Remove a sign and bias that turned out to be the identity."""
    if item in layers.items and not (item.params["sign"] != 1).any() and not item.params["bias"].any():
        item.note("removed", "its sign and bias would be +1 and 0")
        layers.remove(item)
