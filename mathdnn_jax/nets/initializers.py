"""Initialisers that draw from the same distributions as PyTorch's layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from mathdnn_jax.errors import ConfigurationError

Initializer = Callable[..., jax.Array]


def torch_default(fan_in: int) -> Initializer:
    """U(−1/√fan_in, 1/√fan_in): PyTorch's default for the weight *and* the bias of a linear or convolution layer.

    The fan-in is an argument because the bias needs it too and cannot infer it from its own shape. The variance is
    1/(3 fan_in), so that if the inputs of a linear layer have variance v, every output has variance (v + 1/fan_in)/3.

    Args:
        fan_in: The number of inputs that one output depends on.

    Returns:
        An initialiser `(key, shape, dtype) -> array`, as Flax's modules take them.

    Raises:
        ConfigurationError: fan_in < 1.

    Source: course 001, P2; `torch.nn.Linear.reset_parameters` (Kaiming uniform with a = √5 amounts to this bound).

    Example:
        >>> import jax, jax.numpy as jnp, mathdnn_jax as mj
        >>> initialize = mj.nets.torch_default(fan_in=100)
        >>> kernel = initialize(jax.random.key(0), (100, 50))
        >>> kernel.shape
        (100, 50)
        >>> bool(jnp.abs(kernel).max() <= 0.1)
        True
    """
    if fan_in < 1:
        raise ConfigurationError(f"got fan_in={fan_in}; expected at least 1")
    bound = fan_in**-0.5

    def initialize(key: jax.Array, shape: Sequence[int], dtype: Any = jnp.float32) -> jax.Array:
        return jax.random.uniform(key, tuple(shape), dtype, minval=-bound, maxval=bound)

    return initialize


def torch_default_variance(widths: Sequence[int], input_variance: float = 1.0) -> tuple[float, ...]:
    """The variances of the entries of a linear network y_ℓ = A_ℓ y_{ℓ−1} + b_ℓ drawn by `torch_default`.

    Var(y_ℓ) = (Var(y_{ℓ−1}) + 1/n_{ℓ−1}) / 3, so that Var(y_L) = 3^{−L} Var(y_0) + Σ_ℓ 3^{ℓ−L} / n_ℓ over
    ℓ = 0, …, L − 1. Every layer reduces the variance of the signal to a third, and the output of a deep network is
    dominated by the biases of its last layers. The mean is 0. The law holds over the draw of the weights and of inputs
    with mean 0 and the given variance, which may be dependent on each other.

    Args:
        widths: n_0, …, n_L, the numbers of entries of the input and of every layer's output.
        input_variance: Var(y_0) of every entry of the input.

    Returns:
        Var(y_0), …, Var(y_L).

    Raises:
        ConfigurationError: There are no widths, a width is less than 1, or the variance is negative.

    Source: course 001, P2.
    """
    if not widths or min(widths) < 1 or not input_variance >= 0:
        raise ConfigurationError(
            f"got widths={tuple(widths)} and input_variance={input_variance}; expected widths of at least 1 and a "
            f"variance of at least 0"
        )
    variances = [float(input_variance)]
    for fan_in in widths[:-1]:
        variances.append((variances[-1] + 1 / fan_in) / 3)
    return tuple(variances)
