"""A 1-D convolutional network with a hand-written reverse pass that consists of convolutions."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from mathdnn_jax.errors import ConfigurationError, EventShapeError

Activation = Callable[[jax.Array], jax.Array]


class Conv1dLayer(NamedTuple):
    """The parameters w_ℓ (f_ℓ,) and b_ℓ () of one layer, or their gradients, which may have batch axes in front."""

    kernel: jax.Array
    bias: jax.Array


def conv1d_forward(layers: Sequence[Conv1dLayer], x: jax.Array, activation: Activation = jnp.tanh) -> jax.Array:
    """y_ℓ = σ(A_{w_ℓ} y_{ℓ−1} + b_ℓ 1) for ℓ < L and y_L = A_{w_L} y_{L−1} + b_L 1, with y_0 = x.

    (A_w y)_i = Σ_j w_j y_{i+j}: one channel, stride 1, no padding, so that n_ℓ = n_{ℓ−1} − f_ℓ + 1. The matrix A_w is
    never formed.

    Args:
        layers: L ≥ 1 pairs of a kernel (f_ℓ,) and a bias (); no activation follows the last layer.
        x: (..., n_0), of the parameters' dtype.
        activation: σ, applied entry by entry.

    Returns:
        y_L, (..., n_L).

    Raises:
        ConfigurationError: There are no layers, or a layer is not a kernel (f,) with a bias ().
        EventShapeError: x is shorter than the receptive field 1 + Σ (f_ℓ − 1).

    Source: course 001, P3; course 004, P4.
    """
    _check(layers, x)
    y_last: jax.Array = _batched(lambda event: _forward(layers, event, activation)[0], x)
    return y_last


def conv1d_backprop(
    layers: Sequence[Conv1dLayer],
    x: jax.Array,
    activation: Activation = jnp.tanh,
    derivative: Activation | None = None,
    cotangent: jax.Array | None = None,
) -> tuple[jax.Array, tuple[Conv1dLayer, ...]]:
    """y_L of `conv1d_forward` and the gradients of u · y_L with respect to every w_ℓ and b_ℓ, by a reverse pass.

    With a_ℓ = A_{w_ℓ} y_{ℓ−1} + b_ℓ 1 and v_L = u (the last layer has no activation, so no σ′ there either),

    - ∂/∂w_ℓ = A_{v_ℓ} y_{ℓ−1}, the convolution of y_{ℓ−1} with v_ℓ as its kernel, and ∂/∂b_ℓ = 1 · v_ℓ;
    - v_{ℓ−1} = σ′(a_{ℓ−1}) ⊙ A_{w_ℓ}ᵀ v_ℓ, a transposed convolution.

    No array larger than the y_ℓ is formed: the memory is O(Σ n_ℓ), where the matrices would take O(Σ n_ℓ n_{ℓ−1}).

    Args:
        layers: As for `conv1d_forward`.
        x: (..., n_0).
        activation: σ.
        derivative: σ′, applied entry by entry; by default the automatic derivative of `activation`.
        cotangent: u, (n_L,) for the whole batch or (..., n_L); by default 1, for networks whose y_L is a single number.
            The i-th unit vector gives the i-th row of the Jacobian.

    Returns:
        y_L (..., n_L), and for each layer the gradients with respect to the kernel (..., f_ℓ) and to the bias (...,).
        There is one gradient for every event; they are not summed over the batch.

    Raises:
        ConfigurationError, EventShapeError: As for `conv1d_forward`; also if the cotangent does not have y_L's shape,
            or if it is omitted and y_L has more than one entry.

    Source: course 001, P3; course 004, P4, where v_L has a superfluous σ′ (erratum E5).

    Example:
        >>> import jax.numpy as jnp, mathdnn_jax as mj
        >>> layer = mj.nets.Conv1dLayer(kernel=jnp.array([1.0, 2.0, 3.0]), bias=jnp.array(0.5))
        >>> y, (gradient,) = mj.conv1d_backprop([layer], jnp.array([1.0, 0.0, -1.0]))
        >>> y.tolist()
        [-1.5]
        >>> gradient.kernel.tolist(), gradient.bias.tolist()
        ([1.0, 0.0, -1.0], 1.0)
    """
    length = _check(layers, x)
    if cotangent is None:
        if length != 1:
            raise EventShapeError(
                f"got no cotangent, but y_L has {length} entries, so that its derivative is a matrix; give the "
                f"cotangent ({length},) to multiply it with, or an x of {x.shape[-1] - length + 1} entries"
            )
        cotangent = jnp.ones(1, x.dtype)
    if cotangent.shape not in ((length,), (*x.shape[:-1], length)):
        raise EventShapeError(
            f"got a cotangent of shape {cotangent.shape}; expected ({length},) or y_L's {(*x.shape[:-1], length)}"
        )
    slope = derivative or (lambda a: jax.jvp(activation, (a,), (jnp.ones_like(a),))[1])

    def backprop(event: jax.Array, v: jax.Array) -> tuple[jax.Array, tuple[Conv1dLayer, ...]]:
        y_last, inputs, pre_activations = _forward(layers, event, activation)
        gradients: list[Conv1dLayer] = []
        for k in reversed(range(len(layers))):
            gradients.insert(0, Conv1dLayer(kernel=_convolve(inputs[k], v), bias=v.sum()))
            if k > 0:
                v = slope(pre_activations[k - 1]) * _transposed(v, layers[k].kernel)
        return y_last, tuple(gradients)

    result: tuple[jax.Array, tuple[Conv1dLayer, ...]] = _batched(
        backprop, x, jnp.broadcast_to(cotangent, (*x.shape[:-1], length))
    )
    return result


def _forward(
    layers: Sequence[Conv1dLayer], x: jax.Array, activation: Activation
) -> tuple[jax.Array, list[jax.Array], list[jax.Array]]:
    """y_L, the inputs y_0, …, y_{L−1} of the layers, and a_1, …, a_L."""
    inputs, pre_activations, y = [], [], x
    for k, (kernel, bias) in enumerate(layers):
        inputs.append(y)
        pre_activations.append(_convolve(y, kernel) + bias)
        y = pre_activations[-1] if k == len(layers) - 1 else activation(pre_activations[-1])
    return y, inputs, pre_activations


def _convolve(y: jax.Array, kernel: jax.Array, padding: int = 0) -> jax.Array:
    """A_w y: (n,) and (f,) → (n − f + 1,), after `padding` zeros on either side."""
    return lax.conv_general_dilated(y[None, None], kernel[None, None], (1,), [(padding, padding)])[0, 0]


def _transposed(v: jax.Array, kernel: jax.Array) -> jax.Array:
    """A_wᵀ v: (n − f + 1,) and (f,) → (n,)."""
    return _convolve(v, kernel[::-1], padding=len(kernel) - 1)


def _batched(function: Callable[..., Any], *arrays: jax.Array) -> Any:
    """Apply a function of single events to arrays that share their leading axes."""
    batch = arrays[0].shape[:-1]
    values = jax.vmap(function)(*(array.reshape(math.prod(batch), array.shape[-1]) for array in arrays))
    return jax.tree.map(lambda value: value.reshape(*batch, *value.shape[1:]), values)


def _check(layers: Sequence[Conv1dLayer], x: jax.Array) -> int:
    """Check the layers and x, and return n_L."""
    if not layers:
        raise ConfigurationError("got no layers; expected at least one")
    for k, (kernel, bias) in enumerate(layers):
        if jnp.ndim(kernel) != 1 or not len(kernel) or jnp.ndim(bias) != 0:
            raise ConfigurationError(
                f"layer {k} has a kernel of shape {jnp.shape(kernel)} and a bias of shape {jnp.shape(bias)}; "
                f"expected (f,) with f ≥ 1, and ()"
            )
    field = 1 + sum(len(kernel) - 1 for kernel, _ in layers)
    if x.ndim < 1 or x.shape[-1] < field:
        raise EventShapeError(
            f"got x of shape {x.shape}; its last axis must be the signal, with at least {field} entries, the receptive "
            f"field of kernels of {', '.join(str(len(kernel)) for kernel, _ in layers)}"
        )
    return int(x.shape[-1]) - field + 1
