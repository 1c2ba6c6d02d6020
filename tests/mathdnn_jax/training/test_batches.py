from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mathdnn_jax.errors import ConfigurationError, DataSetError
from mathdnn_jax.training.batches import (
    Remainder,
    batch_mask,
    count_examples,
    epoch_rows,
    examples_per_step,
    plan_batches,
)

KEY = jax.random.key(0)


@pytest.mark.parametrize("remainder", [None, "drop", "pad", "wrap"])
def test_sizes_that_divide_leave_nothing(remainder: Remainder | None) -> None:
    batching = plan_batches(12, 4, remainder, shuffle=True)
    rows = epoch_rows(batching, KEY, jnp.int32(0))
    assert rows.shape == (batching.per_epoch, 4) == (3, 4)
    np.testing.assert_array_equal(np.sort(rows.ravel()), np.arange(12))
    np.testing.assert_array_equal(examples_per_step(batching, np.arange(6)), np.full(6, 4))


@pytest.mark.parametrize(("remainder", "per_epoch"), [("drop", 2), ("pad", 3), ("wrap", 3)])
@pytest.mark.parametrize("shuffle", [False, True])
def test_an_incomplete_last_batch(remainder: Remainder, per_epoch: int, shuffle: bool) -> None:
    batching = plan_batches(10, 4, remainder, shuffle)
    assert batching.per_epoch == per_epoch
    rows = np.asarray(epoch_rows(batching, KEY, jnp.int32(1)))
    flat = rows.ravel()
    if not shuffle:
        np.testing.assert_array_equal(flat, np.arange(per_epoch * 4) % 10)
    once = flat[: min(10, len(flat))]
    assert len(set(once)) == len(once)
    np.testing.assert_array_equal(flat[10:], flat[: len(flat[10:])])
    steps = np.arange(2 * per_epoch)
    np.testing.assert_array_equal(
        examples_per_step(batching, steps), [4, 4, 2] * 2 if remainder == "pad" else [4] * len(steps)
    )
    for step in steps:
        mask = batch_mask(batching, jnp.int32(step))
        if remainder == "pad":
            assert mask is not None
            np.testing.assert_array_equal(mask, np.arange(4) < examples_per_step(batching, steps)[step])
        else:
            assert mask is None


def test_a_batch_larger_than_the_data_goes_round_it() -> None:
    batching = plan_batches(3, 8, "wrap", shuffle=False)
    np.testing.assert_array_equal(epoch_rows(batching, KEY, jnp.int32(0)), [[0, 1, 2, 0, 1, 2, 0, 1]])


def test_epochs_differ_and_repeat() -> None:
    batching = plan_batches(50, 10, None, shuffle=True)
    first, second = (np.asarray(epoch_rows(batching, KEY, jnp.int32(epoch))) for epoch in (0, 1))
    assert (first != second).any()
    np.testing.assert_array_equal(first, epoch_rows(batching, KEY, jnp.int32(0)))


def test_a_remainder_must_be_specified() -> None:
    with pytest.raises(ConfigurationError, match="batches of 4 leave 2 of 10 examples over: pass remainder='drop'"):
        plan_batches(10, 4, None, shuffle=True)


@pytest.mark.parametrize(
    ("examples", "size", "remainder", "error"),
    [
        (10, 0, "drop", ConfigurationError),
        (10, 4, "keep", ConfigurationError),
        (3, 4, "drop", DataSetError),
        (0, 4, "pad", DataSetError),
    ],
)
def test_invalid_arguments_are_refused(examples: int, size: int, remainder: Remainder, error: type[Exception]) -> None:
    with pytest.raises(error):
        plan_batches(examples, size, remainder, shuffle=True)


def test_examples_are_counted_along_the_first_axis() -> None:
    assert count_examples({"x": np.zeros((5, 2)), "y": jnp.zeros(5)}) == 5
    for wrong in ({"x": np.zeros((5, 2)), "y": np.zeros(4)}, (np.zeros(3), 1.0), {}):
        with pytest.raises(DataSetError, match="same length along their first axes"):
            count_examples(wrong)
