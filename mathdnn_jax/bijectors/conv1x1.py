"""The invertible 1×1 convolution."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from mathdnn_jax.bijectors import plu_factors
from mathdnn_jax.bijectors.bijector import Bijector, Params, check_image
from mathdnn_jax.bijectors.permutation import Indices
from mathdnn_jax.bijectors.plu import check_plu, init_plu, read_plu


def conv1x1(channels: int, permutation: Indices | None = None) -> Bijector:
    """Z[h, w] = A X[h, w] at every pixel,  A = P L (U + diag s),  log|det ∂Z/∂X| = H W Σ_i log|s_i|.

    Acts on images (H, W, channels) of any height and width. The parameters, their initial values and the convention
    for the permutation are those of `plu`, and so is the cost per pixel.

    Returns:
        The bijector.

    Raises:
        ConfigurationError: channels < 1, or the permutation is not a permutation of `channels` entries.
        EventShapeError: (when applied) the trailing axes of X are not an image with that many channels.
        ParameterStructureError: (when applied) a parameter has a wrong shape.

    Source: Kingma, Dhariwal, "Glow: Generative flow with invertible 1×1 convolutions", 2018, section 3.2;
    course 000, Q4(c); course 003, P4(c).
    """
    order = check_plu("conv1x1", channels, permutation)

    def read(params: Params, x: jax.Array) -> tuple[plu_factors.Factors, jax.Array]:
        batch_shape = check_image(x, channels, "conv1x1")
        a, log_det = read_plu(params, channels, order, "conv1x1")
        return a, jnp.broadcast_to(x.shape[-3] * x.shape[-2] * log_det, batch_shape)

    def forward(params: Params, x: jax.Array, context: jax.Array | None = None) -> tuple[jax.Array, jax.Array]:
        del context
        a, log_det = read(params, x)
        return plu_factors.multiply(a, x.reshape(-1, channels)).reshape(x.shape), log_det

    def inverse(params: Params, z: jax.Array, context: jax.Array | None = None) -> tuple[jax.Array, jax.Array]:
        del context
        a, log_det = read(params, z)
        return plu_factors.solve(a, z.reshape(-1, channels)).reshape(z.shape), -log_det

    return Bijector(lambda key: init_plu(key, channels), forward, inverse, event_ndims=3)
