"""Entries of an event, selected by a boolean mask, and their way back into the event.

A mask is known when a model is built, so its index set is static. If it is an arithmetic progression (a prefix, a
suffix, every second entry: most masks in practice), picking is a strided slice and putting back is padding with
interior zeros. XLA fuses both with their neighbours, whereas a gather or scatter costs a separate pass over memory.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike

from mathdnn_jax.errors import ConfigurationError


class IndexSet(NamedTuple):
    """The sorted flat indices of some of `size` entries, as an array and, if they form a progression, as a slice."""

    indices: np.ndarray
    progression: slice | None
    size: int


def index_sets(mask: ArrayLike) -> tuple[IndexSet, IndexSet]:
    """Return (Ω, Ωᶜ): the entries where `mask` is true, and the others.

    Raises:
        ConfigurationError: the mask is not boolean, or Ω is not a proper non-empty subset.
    """
    mask = np.asarray(mask)
    if mask.dtype != np.bool_:
        raise ConfigurationError(f"the mask of a coupling must be a boolean array, given dtype {mask.dtype}")
    kept = int(mask.sum())
    if mask.ndim == 0 or not 0 < kept < mask.size:
        raise ConfigurationError(
            f"a coupling keeps a proper non-empty subset of the event, given a mask of shape {mask.shape} with "
            f"{kept} of {mask.size} entries kept"
        )
    return _index_set(mask.ravel()), _index_set(~mask.ravel())


def _index_set(mask: np.ndarray) -> IndexSet:
    # Always int32, with or without 64-bit types: JAX's cached indexing mixes the two up when that setting changes.
    indices = np.flatnonzero(mask).astype(np.int32)
    steps = np.unique(np.diff(indices))
    progression = None
    if len(steps) <= 1:
        step = int(steps[0]) if len(steps) else 1
        progression = slice(int(indices[0]), int(indices[-1]) + 1, step)
    return IndexSet(indices, progression, mask.size)


def pick(x: jax.Array, entries: IndexSet) -> jax.Array:
    """x (..., size) → x[..., entries] (..., |entries|)."""
    if entries.progression is not None:
        return x[..., entries.progression]
    return jnp.take(x, entries.indices, axis=-1)


def put(values: jax.Array, entries: IndexSet) -> jax.Array:
    """The transpose of `pick`: values (..., |entries|) → (..., size), zero outside the entries."""
    if entries.progression is None:
        zeros = jnp.zeros((*values.shape[:-1], entries.size), values.dtype)
        return zeros.at[..., entries.indices].set(values)
    progression = entries.progression
    padding = (progression.start, entries.size - progression.stop, progression.step - 1)
    return lax.pad(values, jnp.zeros((), values.dtype), [(0, 0, 0)] * (values.ndim - 1) + [padding])
