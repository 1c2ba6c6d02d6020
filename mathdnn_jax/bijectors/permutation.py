"""Permutations of an event's last axis."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from mathdnn_jax.bijectors.bijector import Bijector, Params, check_last_axis, no_params
from mathdnn_jax.errors import ConfigurationError

Indices = Sequence[int] | np.ndarray


def permutation(indices: Indices, event_ndims: int = 1) -> Bijector:
    """z[…, i] = x[…, indices[i]],  log|det ∂z/∂x| = 0,  with inverse x[…, indices[i]] = z[…, i].

    Acts on the last of an event's `event_ndims` axes: the entries of a vector, or the channels of an image (with
    event_ndims=3). The other axes may have any length. There are no parameters.

    Returns:
        The bijector.

    Raises:
        ConfigurationError: the indices are not 0, …, n − 1 in some order, or event_ndims < 1.
        EventShapeError: (when applied) x has too few axes, an empty one, or a last axis of another length.

    Source: course 000, Q4(b); course 003, P4(b); for channel permutations: Dinh, Sohl-Dickstein, Bengio, "Density
    estimation using Real NVP", 2016, section 3.5.
    """
    given = np.shape(indices)
    order = check_permutation(indices, given[0] if given else 0)
    if event_ndims < 1:
        raise ConfigurationError(
            f"a permutation acts on events with at least one axis, given event_ndims={event_ndims}"
        )
    inverse_order = np.argsort(order).astype(np.int32)

    def apply(x: jax.Array, order: np.ndarray) -> tuple[jax.Array, jax.Array]:
        batch_shape = check_last_axis(x, len(order), event_ndims, "permutation")
        return jnp.take(x, order, axis=-1), jnp.zeros(batch_shape, x.dtype)

    def forward(params: Params, x: jax.Array, context: jax.Array | None = None) -> tuple[jax.Array, jax.Array]:
        del params, context
        return apply(x, order)

    def inverse(params: Params, z: jax.Array, context: jax.Array | None = None) -> tuple[jax.Array, jax.Array]:
        del params, context
        return apply(z, inverse_order)

    return Bijector(no_params, forward, inverse, event_ndims)


def check_permutation(indices: Indices, size: int) -> np.ndarray:
    """Return the indices as int32 after checking that they are 0, …, size − 1 in some order.

    Raises:
        ConfigurationError: they are not such a permutation.
    """
    order = np.asarray(indices)
    if size < 1 or order.shape != (size,) or order.dtype.kind not in "iu" or (np.sort(order) != np.arange(size)).any():
        raise ConfigurationError(
            f"a permutation consists of the indices 0, …, {max(size, 1) - 1} as integers in some order, each of them "
            f"once; given {order.tolist() if order.size <= 16 else f'an array of shape {order.shape}'} "
            f"of dtype {order.dtype}"
        )
    # Always int32, with or without 64-bit types: JAX's cached indexing mixes the two up when that setting changes.
    return order.astype(np.int32)
