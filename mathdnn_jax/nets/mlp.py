"""The multi-layer perceptron."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

from mathdnn_jax.nets.initializers import torch_default


class MLP(nn.Module):
    """y = W_n σ(… σ(W_1 x + b_1) …) + b_n: dense layers with an activation between them and none after the last.

    The layers are named `dense_0`, `dense_1`, …. Each has a kernel (inputs, outputs) and a bias (outputs,), both drawn
    from PyTorch's default distribution. x (..., inputs) → (..., features[-1]). If there is a context (..., more
    inputs), it is appended to x.

    Attributes:
        features: The widths of the layers' outputs; the last is the width of the network's output.
        activation: σ, by default ReLU.

    Example:
        >>> import jax, jax.numpy as jnp, mathdnn_jax as mj
        >>> network = mj.nets.MLP((16, 3))
        >>> x = jnp.ones((8, 4), jnp.float32)
        >>> variables = network.init(jax.random.key(0), x)
        >>> network.apply(variables, x).shape
        (8, 3)
    """

    features: Sequence[int]
    activation: Callable[[jax.Array], jax.Array] = nn.relu

    @nn.compact
    def __call__(self, x: jax.Array, context: jax.Array | None = None) -> jax.Array:
        """Apply the network to x (..., inputs), with a context (..., more inputs) if there is one."""
        if context is not None:
            x = jnp.concatenate([x, context], axis=-1)
        for k, width in enumerate(self.features):
            initializer = torch_default(x.shape[-1])
            x = nn.Dense(width, kernel_init=initializer, bias_init=initializer, name=f"dense_{k}")(x)
            if k < len(self.features) - 1:
                x = self.activation(x)
        return x
