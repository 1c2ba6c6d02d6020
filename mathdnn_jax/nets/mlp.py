"""The multi-layer perceptron."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

from mathdnn_jax.nets.initializers import torch_default


class MLP(nn.Module):
    """y = W_n σ(… σ(W_1 x + b_1) …) + b_n: dense layers with an activation between them, none after the last.

    Layers are named `dense_0`, `dense_1`, …, each with a kernel (inputs, outputs) and a bias (outputs,), drawn
    from PyTorch's default initialiser. x (..., inputs) → (..., features[-1]). A context (..., more inputs), where
    there is one, is appended to x.

    Attributes:
        features: the width of each layer's output, the last being the network's output.
        activation: σ, ReLU by default.
    """

    features: Sequence[int]
    activation: Callable[[jax.Array], jax.Array] = nn.relu

    @nn.compact
    def __call__(self, x: jax.Array, context: jax.Array | None = None) -> jax.Array:
        """Apply the network to x (..., inputs), or to x and a context side by side."""
        if context is not None:
            x = jnp.concatenate([x, context], axis=-1)
        for k, width in enumerate(self.features):
            initializer = torch_default(x.shape[-1])
            x = nn.Dense(width, kernel_init=initializer, bias_init=initializer, name=f"dense_{k}")(x)
            if k < len(self.features) - 1:
                x = self.activation(x)
        return x
