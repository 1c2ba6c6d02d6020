"""Permutations of an event's last axis."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from mathdnn_jax.bijectors.bijector import Bijector, Params, check_last_axis
from mathdnn_jax.errors import ConfigurationError

Indices = Sequence[int] | np.ndarray


def permutation(indices: Indices, event_ndims: int = 1) -> Bijector:
    """z[…, i] = x[…, indices[i]],  log|det ∂z/∂x| = 0,  with inverse x[…, indices[i]] = z[…, i].

    Acts on the last of an event's `event_ndims` axes: entries of a vector, channels of an image (3). The others may
    have any length. There are no parameters.

    Raises:
        ConfigurationError: the indices are not 0, …, n − 1 in some order, or event_ndims < 1.
        EventShapeError: (when applied) x has fewer axes, an empty one, or another length of the last.

    Source: seeds 000 Q4(b), 003 P4(b); channel permutations: Dinh, Sohl-Dickstein, Bengio, "Density estimation using
    Real NVP", 2016, section 3.5.
    """
    given = np.shape(indices)
    order = check_permutation(indices, given[0] if given else 0)
    if event_ndims < 1:
        raise ConfigurationError(f"a permutation acts on events of at least one axis, given event_ndims={event_ndims}")
    inverse_order = np.argsort(order).astype(np.int32)

    def init(key: jax.Array) -> Params:
        del key
        return {}

    def apply(x: jax.Array, order: np.ndarray) -> tuple[jax.Array, jax.Array]:
        batch_shape = check_last_axis(x, len(order), event_ndims, "permutation")
        return jnp.take(x, order, axis=-1), jnp.zeros(batch_shape, x.dtype)

    def forward(params: Params, x: jax.Array, context: jax.Array | None = None) -> tuple[jax.Array, jax.Array]:
        del params, context
        return apply(x, order)

    def inverse(params: Params, z: jax.Array, context: jax.Array | None = None) -> tuple[jax.Array, jax.Array]:
        del params, context
        return apply(z, inverse_order)

    return Bijector(init, forward, inverse, event_ndims)


def check_permutation(indices: Indices, size: int) -> np.ndarray:
    """Return the indices as int32, which must be 0, …, size − 1 in some order.

    Raises:
        ConfigurationError: they are not.
    """
    order = np.asarray(indices)
    if size < 1 or order.shape != (size,) or order.dtype.kind not in "iu" or (np.sort(order) != np.arange(size)).any():
        raise ConfigurationError(
            f"a permutation is given by the indices 0, …, {max(size, 1) - 1} as integers in some order, each of them "
            f"once; given {order.tolist() if order.size <= 16 else f'an array of shape {order.shape}'} "
            f"of dtype {order.dtype}"
        )
    # Of one type whether or not JAX has 64-bit types: its cached indexing mixes the two up when that changes.
    return order.astype(np.int32)
