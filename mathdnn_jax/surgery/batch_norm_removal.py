"""Batch norms removed from a trained network, exactly, wherever that is possible."""

from __future__ import annotations

from typing import Any

from mathdnn_jax.nets import BatchNorm, Sequential
from mathdnn_jax.surgery.affine_map import AFFINE
from mathdnn_jax.surgery.layer_list import Bench, Item, Variables
from mathdnn_jax.surgery.report import SurgeryReport
from mathdnn_jax.surgery.rules import Rule, fold_back, fold_forward, pad_with_values, sign_bias

# In this order: what leaves nothing behind comes first.
_RULES: tuple[Rule, ...] = (fold_back, fold_forward, sign_bias, pad_with_values)


def remove_batch_norm(network: Sequential, variables: Variables) -> tuple[Sequential, dict[str, Any], SurgeryReport]:
    """Return a network without batch norms that computes the same in eval mode.

    In eval mode a batch norm is x ↦ s ⊙ x ⊕ t with s = γ/√(σ² + ε), t = β − s μ. It is, the first that is exact,

    - folded into a linear layer before it, w̃ = s w, b̃ = s b + t (convolutions, transposed ones, groups, dense);
    - folded into a linear layer behind it, w̃ = w s, b̃ = b + Σ w t, where no zero is padded or t = 0;
    - behind a positively homogeneous activation turned into a sign and bias S ⊙ σ(w̃ x + b̃) ⊕ B, see `to_sign_bias`;
    - folded into a zero-padded convolution behind it, which then pads with the values −t/s that it maps to zero;
    - or left, and the report says why.

    On its way it passes dropout, repetition, pooling and flattening wherever that is exact; batch norms in a row are
    one. Layers of kind `ScaleShift` and `SignBias` are treated alike. Everything is computed in float64 on the host and
    rounded once, to the dtype that each array had; arrays that do not change are not copied. Train mode is another
    matter: the new network has no statistics to update.

    Raises:
        ConfigurationError: the network is no `Sequential`.
        ParameterStructureError: the variables are not the network's, or running statistics are missing.
        NonFiniteError: a variance + ε is not positive, or a new array does not fit into its dtype.
        EventShapeError: arrays have the wrong shape, or the wrong number of channels for their neighbours.

    Source: seeds 001 P1, 004 P3 and 000 Q1.
    """
    bench = Bench(network, variables)
    while _one_step(bench):
        pass
    for item in [item for item in bench.items if isinstance(item.layer, BatchNorm)]:
        reasons = [rule(bench, item) for rule in _RULES]
        item.note("left", "; ".join(reason for reason in reasons if reason is not None))
    return bench.assemble("remove_batch_norm")


def _one_step(bench: Bench) -> bool:
    """Apply the first rule that can be applied; each removes an affine layer, or makes one a sign and bias."""
    for rule in _RULES:
        for item in [item for item in bench.items if isinstance(item.layer, AFFINE)]:
            if rule(bench, item) is None:
                _tidy(bench, item)
                return True
    return False


def _tidy(bench: Bench, item: Item) -> None:
    """A sign and bias that has come out as the identity is removed."""
    if item in bench.items and not (item.params["sign"] != 1).any() and not item.params["bias"].any():
        item.note("removed", "its sign and bias would be +1 and 0")
        bench.remove(item)
