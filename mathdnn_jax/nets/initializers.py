"""Initialisers that draw what PyTorch's layers draw."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from mathdnn_jax.errors import ConfigurationError

Initializer = Callable[..., jax.Array]


def torch_default(fan_in: int) -> Initializer:
    """U(−1/√fan_in, 1/√fan_in): PyTorch's default for the weight *and* the bias of a linear or convolution layer.

    The fan-in is an argument because a bias has it too, and a bias's own shape does not tell it. Variance
    1/(3 fan_in), so that for a linear layer with inputs of variance v every output has variance (v + 1/fan_in)/3.

    Returns:
        An initialiser `(key, shape, dtype) -> array`, as Flax's modules take them.

    Raises:
        ConfigurationError: fan_in < 1.

    Source: seed 001 P2; `torch.nn.Linear.reset_parameters` (Kaiming uniform with a = √5 comes to this bound).
    """
    if fan_in < 1:
        raise ConfigurationError(f"a layer has at least one input, given fan_in={fan_in}")
    bound = fan_in**-0.5

    def initialize(key: jax.Array, shape: Sequence[int], dtype: Any = jnp.float32) -> jax.Array:
        return jax.random.uniform(key, tuple(shape), dtype, minval=-bound, maxval=bound)

    return initialize


def torch_default_variance(widths: Sequence[int], input_variance: float = 1.0) -> tuple[float, ...]:
    """Var(y_0), …, Var(y_L) of every entry of a linear network y_ℓ = A_ℓ y_{ℓ−1} + b_ℓ drawn by `torch_default`.

    Var(y_ℓ) = (Var(y_{ℓ−1}) + 1/n_{ℓ−1}) / 3, that is 3^{−L} Var(y_0) + Σ_ℓ 3^{ℓ−L} / n_ℓ over ℓ = 0, …, L − 1: the
    signal is cut to a third by every layer, and what is left of a deep network's output is the bias of its last layers.
    The mean is 0. It holds over the draw of the weights and of inputs of mean 0 and this variance, whatever their
    dependence.

    Args:
        widths: n_0, …, n_L, the entries of the input and of every layer's output.
        input_variance: Var(y_0) of every entry of the input.

    Raises:
        ConfigurationError: a width is less than 1, there is none, or the variance is negative.

    Source: seed 001 P2.
    """
    if not widths or min(widths) < 1 or not input_variance >= 0:
        raise ConfigurationError(
            f"widths are at least 1 and a variance at least 0, given widths={tuple(widths)} and "
            f"input_variance={input_variance}"
        )
    variances = [float(input_variance)]
    for fan_in in widths[:-1]:
        variances.append((variances[-1] + 1 / fan_in) / 3)
    return tuple(variances)
