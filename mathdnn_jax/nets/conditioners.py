"""Convolutional networks that condition the bijectors of image flows."""

from __future__ import annotations

import math
from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.linen.dtypes import promote_dtype
from flax.typing import Initializer

from mathdnn_jax.nets.kernels.correlate import correlate


class ConvNet(nn.Module):
    """y = W_n * ρ(… ρ(W_1 * x + b_1) …) + b_n: convolutions that keep height and width, with ReLU between them.

    The first and the last convolution have 3 × 3 kernels, the others 1 × 1 kernels. The last convolution starts at
    zero, so that y starts at zero and a coupling conditioned by the network starts as the identity.
    x (..., H, W, inputs) → (..., H, W, features[-1]). If there is a context (..., more inputs), it is appended to the
    channels of every pixel.

    Attributes:
        features: The numbers of channels of the convolutions' outputs; the last is that of the network's output.

    Source: Kingma, Dhariwal, "Glow: Generative Flow with Invertible 1×1 Convolutions", 2018, section 4.
    """

    features: Sequence[int]

    @nn.compact
    def __call__(self, x: jax.Array, context: jax.Array | None = None) -> jax.Array:
        """Apply the network to images (..., H, W, inputs), with a context (..., more inputs) if there is one."""
        x = _with_context(x, context)
        last = len(self.features) - 1
        for k, channels in enumerate(self.features):
            side = 3 if k in (0, last) else 1
            initializer = nn.initializers.zeros if k == last else nn.initializers.he_normal()
            x = _Convolution(channels, side, initializer, name=f"conv_{k}")(x)
            if k < last:
                x = nn.relu(x)
        return x


class PooledConvNet(nn.Module):
    """y = W mean_{i,j} ρ(V * x + c)_{ij} + b: features of a whole image of any size.

    The network is a 3 × 3 convolution to `width` channels, ReLU, the mean over the pixels, and a dense layer that
    starts at zero. x (..., H, W, inputs) → (..., outputs). If there is a context, it is appended to the channels of
    every pixel.

    Attributes:
        outputs: The number of features of an image.
        width: The number of channels of the convolution.
    """

    outputs: int
    width: int = 32

    @nn.compact
    def __call__(self, x: jax.Array, context: jax.Array | None = None) -> jax.Array:
        """Apply the network to images (..., H, W, inputs), with a context (..., more inputs) if there is one."""
        x = _with_context(x, context)
        x = nn.relu(_Convolution(self.width, 3, nn.initializers.he_normal(), name="conv")(x))
        return nn.Dense(self.outputs, kernel_init=nn.initializers.zeros, name="dense")(x.mean((-3, -2)))


class _Convolution(nn.Module):
    """A convolution like `nn.Conv` with stride 1 that keeps height and width, computed by `correlate`."""

    features: int
    side: int
    kernel_init: Initializer

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        kernel = self.param("kernel", self.kernel_init, (self.side, self.side, x.shape[-1], self.features), jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, (self.features,), jnp.float32)
        x, kernel, bias = promote_dtype(x, kernel, bias)
        images = x.reshape(math.prod(x.shape[:-3]), *x.shape[-3:])
        edge = self.side // 2
        y: jax.Array = correlate(images, kernel, (1, 1), ((edge, edge), (edge, edge)), (1, 1), 1) + bias
        return y.reshape(*x.shape[:-1], self.features)


def _with_context(x: jax.Array, context: jax.Array | None) -> jax.Array:
    if context is None:
        return x
    everywhere = jnp.broadcast_to(context[..., None, None, :], (*x.shape[:-1], context.shape[-1]))
    return jnp.concatenate([x, everywhere], axis=-1)
