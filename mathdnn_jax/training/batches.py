"""How an epoch is cut into batches."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np

from mathdnn_jax.errors import ConfigurationError, DataSetError
from mathdnn_jax.training.shuffle import shuffled

Remainder = Literal["drop", "pad", "wrap"]


class Batches(NamedTuple):
    """The cut: `examples` into `per_epoch` batches of `size`, the last of them as `remainder` says."""

    examples: int
    size: int
    remainder: Remainder | None
    shuffle: bool

    @property
    def per_epoch(self) -> int:
        """Batches, that is steps, in an epoch."""
        return self.examples // self.size if self.remainder == "drop" else -(-self.examples // self.size)

    @property
    def masked(self) -> bool:
        """Whether the loss is given a mask."""
        return self.remainder == "pad"


def batches(examples: int, size: int, remainder: Remainder | None, shuffle: bool) -> Batches:
    """Cut `examples` into batches of `size`.

    `remainder` says what becomes of a last batch that would be smaller: "drop" leaves its examples out of this epoch
    (with shuffling, others the next time); "wrap" fills it from the beginning of the epoch's own order, so that those
    count twice; "pad" fills it likewise, and gives the loss a mask that is false there. None is for sizes that divide.

    Raises:
        ConfigurationError: the size does not divide the examples and nothing is said of the remainder; or nonsense.
        DataSetError: there is not one batch.
    """
    if size < 1:
        raise ConfigurationError(f"a batch has at least one example, given batch_size={size}")
    if remainder is not None and remainder not in get_args(Remainder):
        raise ConfigurationError(f"remainder is one of {get_args(Remainder)}, given {remainder!r}")
    if examples < 1 or (remainder == "drop" and examples < size):
        raise DataSetError(f"there is not one batch of {size} in {examples} examples")
    if remainder is None and examples % size:
        raise ConfigurationError(
            f"batches of {size} leave {examples % size} of {examples} examples over: say remainder='drop', 'pad' "
            "(the loss is then given mask=) or 'wrap'"
        )
    return Batches(examples, size, remainder, shuffle)


def epoch_rows(cut: Batches, key: jax.Array, epoch: jax.Array) -> jax.Array:
    """Which examples the batches of an epoch have: int32 (per_epoch, size)."""
    if cut.shuffle:
        order = shuffled(jax.random.fold_in(key, epoch), cut.examples)
    else:
        order = jnp.arange(cut.examples, dtype=jnp.int32)
    places = jnp.arange(cut.per_epoch * cut.size, dtype=jnp.int32) % cut.examples
    return order.at[places].get(mode="promise_in_bounds").reshape(cut.per_epoch, cut.size)


def batch_mask(cut: Batches, step: jax.Array) -> jax.Array | None:
    """Which of the examples of a step count: bool (size,), or None where all always do."""
    if not cut.masked:
        return None
    first = (step % cut.per_epoch) * cut.size
    return first + jnp.arange(cut.size, dtype=jnp.int32) < cut.examples


def counted(cut: Batches, steps: np.ndarray) -> np.ndarray:
    """How many examples count in each of `steps` (N,): int64 (N,)."""
    left = cut.examples - (steps % cut.per_epoch) * cut.size
    return np.minimum(left, cut.size) if cut.masked else np.full(len(steps), cut.size)


def count_examples(data: Any) -> int:
    """The common length of the leading axes.

    Raises:
        DataSetError: there is none.
    """
    shapes = {jax.tree_util.keystr(path): np.shape(leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(data)}
    lengths = {shape[0] if shape else None for shape in shapes.values()}
    if len(lengths) != 1 or None in lengths:
        told = ", ".join(f"data{path} {shape}" for path, shape in shapes.items()) or "no array"
        raise DataSetError(f"data is arrays with one length along their first axes, given {told}")
    (length,) = lengths
    return int(length or 0)
