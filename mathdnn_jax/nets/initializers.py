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
