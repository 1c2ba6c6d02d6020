"""A batch norm and the linear layer before it as one linear layer: on bare arrays, whatever network they are of."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import numpy as np

from mathdnn_jax.errors import EventShapeError, NonFiniteError
from mathdnn_jax.surgery.layer_list import fitted


class Affine(NamedTuple):
    """x_c ↦ s_c x_c + t_c: s and t, float64, one entry for each channel."""

    scale: np.ndarray
    shift: np.ndarray


class Folded(NamedTuple):
    """What a linear layer's arrays become: `kernel` of its old shape and dtype, `bias` (O,) of the same dtype."""

    kernel: jax.Array
    bias: jax.Array


def fold_batch_norm(
    kernel: Any,
    bias: Any,
    *,
    mean: Any,
    var: Any,
    scale: Any = None,
    shift: Any = None,
    epsilon: float,
    axis: int = -1,
) -> Folded:
    """Fold a batch norm, in eval mode, into the linear layer right before it: w̃ = s w, b̃ = s (b − μ) + β.

    s = γ/√(σ² + ε), one for each output channel, so that BN(w ∗ x + b) = w̃ ∗ x + b̃ for every x: of dense layers and
    convolutions of any rank, groups, strides, padding and dilation, transposed ones too. It is the formula by which
    `remove_batch_norm` folds a `Sequential`; here the caller knows that nothing stands between the two. Everything is
    computed in float64 on the host and rounded once.

    Args:
        kernel: the layer's, in JAX's layout (…, in, out).
        bias: the layer's (O,), or None.
        mean: the running mean μ, (O,).
        var: the running variance σ², (O,).
        scale: γ, (O,), or None where the batch norm has none: 1.
        shift: β, (O,), or None: 0.
        epsilon: ε, which no checkpoint holds: 1e-5 in PyTorch and Flax unless it was changed.
        axis: the kernel's axis of output channels, −1; 0 for a kernel in PyTorch's layout, −2 for one of Flax's
            ConvTranspose with transpose_kernel=True.

    Returns:
        (kernel, bias), of the kernel's shape and dtype and (O,).

    Raises:
        EventShapeError: an array has not one number for each output channel.
        NonFiniteError: a variance + ε is not positive, or a new array does not fit into the kernel's dtype.

    Source: seed 001 P1; Jacob et al., 2018.
    """
    weights = np.moveaxis(np.asarray(kernel), axis, -1)
    arrays = {"bias": bias, "mean": mean, "var": var, "scale": scale, "shift": shift}
    wrong = [
        f"{name} {np.shape(a)}" for name, a in arrays.items() if a is not None and np.shape(a) != weights.shape[-1:]
    ]
    if wrong:
        raise EventShapeError(
            f"a kernel of shape {np.shape(kernel)} has {weights.shape[-1]} output channels along axis {axis}, and one "
            f"number for each is expected: given {', '.join(wrong)}"
        )
    affine = normalisation(mean, var, epsilon, scale, shift)
    w, b = scaled(_double(weights), 0.0 if bias is None else _double(bias), affine)
    dtype = np.dtype(weights.dtype)
    return Folded(fitted(np.moveaxis(w, -1, axis), dtype, "the new kernel"), fitted(b, dtype, "the new bias"))


def normalisation(mean: Any, var: Any, epsilon: float, scale: Any = None, shift: Any = None) -> Affine:
    """The map that a batch norm is in eval mode: s = γ/√(σ² + ε), t = β − s μ.

    Raises:
        NonFiniteError: σ² + ε is not positive somewhere, or an array is not finite.
    """
    mean, variance = _double(mean), _double(var)
    bad = np.flatnonzero(~(variance + epsilon > 0))
    if bad.size:
        raise NonFiniteError(
            f"variance + epsilon must be positive, it is {variance[bad[0]] + epsilon:.6g} in channel {bad[0]} "
            f"({bad.size} of {variance.size} such channels)"
        )
    s = 1 / np.sqrt(variance + epsilon)
    if scale is not None:
        s = s * _double(scale)
    t = (0 if shift is None else _double(shift)) - s * mean
    if not (np.isfinite(s) & np.isfinite(t) & np.isfinite(variance)).all():
        raise NonFiniteError("its scale, bias or running statistics are not finite")
    return Affine(s, t)


def scaled(kernel: np.ndarray, bias: np.ndarray | float, affine: Affine) -> tuple[np.ndarray, np.ndarray]:
    """(kernel, bias) of s ⊙ y ⊕ t, where y = w x + b: w̃ = s w along the last axis, b̃ = s b + t."""
    return kernel * affine.scale, affine.scale * bias + affine.shift


def _double(array: Any) -> np.ndarray:
    return np.asarray(array).astype(np.float64)
