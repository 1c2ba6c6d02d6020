"""Entries of an event picked out by a boolean mask, and put back.

A mask is known when a model is built, so its index set is static. Where it is an arithmetic progression (a prefix, a
suffix, every second entry: most masks in use), picking is a strided slice and putting back is a padding with interior
zeros; XLA fuses both with their neighbours, while a gather or scatter costs a pass over memory of its own.
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
    """The sorted flat indices of some entries among `size`, as an array and, where they are one, as a slice."""

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
        raise ConfigurationError(f"a coupling's mask is a boolean array, given dtype {mask.dtype}")
    kept = int(mask.sum())
    if mask.ndim == 0 or not 0 < kept < mask.size:
        raise ConfigurationError(
            f"a coupling keeps a proper non-empty subset of the event, given a mask of shape {mask.shape} with "
            f"{kept} of {mask.size} entries kept"
        )
    return _index_set(mask.ravel()), _index_set(~mask.ravel())


def _index_set(mask: np.ndarray) -> IndexSet:
    # Of one type whether or not JAX has 64-bit types: its cached indexing mixes the two up when that changes.
    indices = np.flatnonzero(mask).astype(np.int32)
    steps = np.unique(np.diff(indices))
    progression = None
    if len(steps) <= 1:
        step = int(steps[0]) if len(steps) else 1
        progression = slice(int(indices[0]), int(indices[-1]) + 1, step)
    return IndexSet(indices, progression, mask.size)


def pick(x: jax.Array, entries: IndexSet) -> jax.Array:
    """X (..., size) → x[..., entries] (..., |entries|)."""
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
