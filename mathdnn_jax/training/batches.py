"""Splitting an epoch into batches."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np

from mathdnn_jax.errors import ConfigurationError, DataSetError
from mathdnn_jax.training.shuffle import shuffled

Remainder = Literal["drop", "pad", "wrap"]


class Batching(NamedTuple):
    """The split of `examples` into `per_epoch` batches of `size`; `remainder` is what happens to an incomplete one."""

    examples: int
    size: int
    remainder: Remainder | None
    shuffle: bool

    @property
    def per_epoch(self) -> int:
        """Number of batches, and therefore of steps, in an epoch."""
        return self.examples // self.size if self.remainder == "drop" else -(-self.examples // self.size)

    @property
    def masked(self) -> bool:
        """Whether the loss is passed a mask."""
        return self.remainder == "pad"


def plan_batches(examples: int, size: int, remainder: Remainder | None, shuffle: bool) -> Batching:
    """Split `examples` into batches of `size`.

    `remainder` decides what happens to a last batch that would be incomplete: "drop" skips its examples in this epoch
    (with shuffling, the next epoch skips others); "wrap" fills it from the beginning of the epoch's order, so that
    those examples count twice; "pad" fills it in the same way and passes the loss a mask that is False there. None is
    only for a size that divides the number of examples.

    Raises:
        ConfigurationError: The size does not divide the examples and `remainder` is None, or an argument is invalid.
        DataSetError: There are too few examples for a single batch.
    """
    if size < 1:
        raise ConfigurationError(f"given batch_size={size}: a batch needs at least one example")
    if remainder is not None and remainder not in get_args(Remainder):
        raise ConfigurationError(f"given remainder={remainder!r}: expected one of {get_args(Remainder)}")
    if examples < 1 or (remainder == "drop" and examples < size):
        raise DataSetError(f"{examples} examples do not fill a single batch of {size}")
    if remainder is None and examples % size:
        raise ConfigurationError(
            f"batches of {size} leave {examples % size} of {examples} examples over: pass remainder='drop', 'pad' "
            "(the loss then receives mask=) or 'wrap'"
        )
    return Batching(examples, size, remainder, shuffle)


def epoch_rows(batching: Batching, key: jax.Array, epoch: jax.Array) -> jax.Array:
    """The indices of the examples in each batch of an epoch: int32 (per_epoch, size)."""
    if batching.shuffle:
        order = shuffled(jax.random.fold_in(key, epoch), batching.examples)
    else:
        order = jnp.arange(batching.examples, dtype=jnp.int32)
    places = jnp.arange(batching.per_epoch * batching.size, dtype=jnp.int32) % batching.examples
    return order.at[places].get(mode="promise_in_bounds").reshape(batching.per_epoch, batching.size)


def batch_mask(batching: Batching, step: jax.Array) -> jax.Array | None:
    """Mask of the examples that count in a step: bool (size,), or None if all of them always count."""
    if not batching.masked:
        return None
    first = (step % batching.per_epoch) * batching.size
    return first + jnp.arange(batching.size, dtype=jnp.int32) < batching.examples


def examples_per_step(batching: Batching, steps: np.ndarray) -> np.ndarray:
    """The number of examples that count in each of `steps` (N,): int64 (N,)."""
    left = batching.examples - (steps % batching.per_epoch) * batching.size
    return np.minimum(left, batching.size) if batching.masked else np.full(len(steps), batching.size)


def count_examples(data: Any) -> int:
    """The common length of the leading axes.

    Raises:
        DataSetError: The leaves do not have a common length.
    """
    shapes = {jax.tree_util.keystr(path): np.shape(leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(data)}
    lengths = {shape[0] if shape else None for shape in shapes.values()}
    if len(lengths) != 1 or None in lengths:
        given = ", ".join(f"data{path} {shape}" for path, shape in shapes.items()) or "no arrays"
        raise DataSetError(f"given {given}: expected arrays with the same length along their first axes")
    (length,) = lengths
    return int(length or 0)
