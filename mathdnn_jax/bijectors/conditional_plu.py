"""The 1×1 convolution whose matrix is computed from the other half of the channels."""

from __future__ import annotations

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from mathdnn_jax.bijectors import plu_factors
from mathdnn_jax.bijectors.bijector import Bijector, Params, check_image
from mathdnn_jax.bijectors.conditioner import pure_conditioner
from mathdnn_jax.bijectors.log_scale import bounded, check_bound
from mathdnn_jax.bijectors.permutation import Indices
from mathdnn_jax.bijectors.plu import check_plu
from mathdnn_jax.errors import ConfigurationError
from mathdnn_jax.events import check_event

_NAME = "conditional_plu_coupling"


def conditional_plu_coupling(
    conditioner: nn.Module,
    channels: int,
    *,
    permutation: Indices | None = None,
    signs: Sequence[int] | None = None,
    log_scale_bound: float | None = None,
    image_shape: tuple[int, int] | None = None,
    context_shape: tuple[int, ...] | None = None,
) -> Bijector:
    """Z₁ = X₁,  Z₂[h, w] = A(X₁) X₂[h, w] at every pixel,  A = P L (U + diag s),  log|det ∂Z/∂X| = H W Σ_i log|s_i|.

    X₁ is the first `channels` channels of an image (H, W, 2 channels), X₂ the others. L, U and s are functions of the
    whole of X₁, so that every image has its own matrix, shared by all its pixels. The Jacobian is block triangular:
    ∂Z₂/∂X₁ is not zero, but does not enter the determinant. The inverse consists of two triangular solves.

    Args:
        conditioner: any Flax module without mutable state, from X₁ (…, H, W, C) to (…, C²): a C × C matrix M, row by
            row, whose entries below the diagonal are those of L, whose entries above it are those of U, and whose
            diagonal is log|s|. With M = 0 the map is the permutation alone. It is best to initialise the last layer
            of a deep network with zeros, since the triangles of large random matrices are ill-conditioned.
        channels: C, half of the event's channels.
        permutation: P, as in `plu`: row i of A is row permutation[i] of L (U + diag s). The default is the identity.
        signs: +1 or −1 for each s_i, fixed; by default all are +1.
        log_scale_bound: a bound c on |log|s_i||, as in `affine_coupling`.
        image_shape: the height and width of events, if the conditioner is built for one size (because it flattens,
            for example). Without it events may have any size, and the conditioner's parameters are initialised for a
            single pixel.
        context_shape: the shape of one event's context, which the conditioner receives as its second argument.

    Returns:
        The bijector. Its parameters are the conditioner's own "params" collection.

    Raises:
        ConfigurationError: channels < 1; or the permutation, the signs, the bound or the image shape is invalid; or
            (in `init` and when applied) the conditioner keeps state besides its parameters or returns a wrong shape,
            or the context is missing.
        EventShapeError: (when applied) the trailing axes of X are not such an image.

    Source: course 000, Q4(d); course 003, P4(d), with the Jacobian corrected (erratum E8).
    """
    order = check_plu(_NAME, channels, permutation)
    sign = _check_signs(signs, channels)
    check_bound(log_scale_bound)
    if image_shape is not None and (len(image_shape) != 2 or min(image_shape) < 1):
        raise ConfigurationError(f"an image shape is (height, width), each at least 1, given {image_shape}")
    probe_shape = (1, 1) if image_shape is None else tuple(image_shape)
    network = pure_conditioner(conditioner, (*probe_shape, channels), context_shape, _NAME)

    def read(
        params: Params, x: jax.Array, context: jax.Array | None
    ) -> tuple[jax.Array, jax.Array, plu_factors.Factors, jax.Array]:
        if image_shape is None:
            batch_shape = check_image(x, 2 * channels, _NAME)
        else:
            batch_shape = check_event(x, (*probe_shape, 2 * channels), _NAME)
        batch_shape = network.batch(batch_shape, context)
        x = jnp.broadcast_to(x, (*batch_shape, *x.shape[-3:]))
        kept, moved = x[..., :channels], x[..., channels:]
        returned = network.apply(params, kept, batch_shape, context)
        if getattr(returned, "shape", None) != (*batch_shape, channels**2):
            raise ConfigurationError(
                f"the conditioner of {_NAME} must return one {channels} × {channels} matrix for each image, an array "
                f"of shape {(*batch_shape, channels**2)}; it returned {getattr(returned, 'shape', type(returned))}"
            )
        m = returned.reshape(*batch_shape, channels, channels)
        log_scale = bounded(jnp.diagonal(m, axis1=-2, axis2=-1), log_scale_bound)
        s = jnp.exp(log_scale) if sign is None else jnp.asarray(sign, m.dtype) * jnp.exp(log_scale)
        pixels = x.shape[-3] * x.shape[-2]
        vectors = moved.reshape(*batch_shape, pixels, channels)
        return kept, vectors, plu_factors.factors(m, m, s, order), pixels * log_scale.sum(-1)

    def forward(params: Params, x: jax.Array, context: jax.Array | None = None) -> tuple[jax.Array, jax.Array]:
        kept, moved, a, log_det = read(params, x, context)
        return jnp.concatenate([kept, plu_factors.multiply(a, moved).reshape(kept.shape)], -1), log_det

    def inverse(params: Params, z: jax.Array, context: jax.Array | None = None) -> tuple[jax.Array, jax.Array]:
        kept, moved, a, log_det = read(params, z, context)
        return jnp.concatenate([kept, plu_factors.solve(a, moved).reshape(kept.shape)], -1), -log_det

    return Bijector(network.init, forward, inverse, event_ndims=3)


def _check_signs(signs: Sequence[int] | None, channels: int) -> np.ndarray | None:
    if signs is None:
        return None
    given = np.asarray(signs)
    if given.shape != (channels,) or not np.isin(given, (-1, 1)).all():
        raise ConfigurationError(f"signs must be +1 or −1 for each of {channels} channels, given {signs}")
    return given
