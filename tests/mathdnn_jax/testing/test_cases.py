"""The cases of a check: trees like the example, and events inside their support."""

from __future__ import annotations

from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mathdnn_jax.testing import check_bijector
from mathdnn_jax.testing.cases import EventDraw, TreeDraw, event, float32, tree
from mathdnn_jax.testing.strategy import TREE_DRAWS, event_draws
from mathdnn_jax.testing.support import box

EXAMPLE = {
    "weight": np.ones((3, 2), np.float32),
    "layers": [jnp.zeros(4), np.asarray(0.5)],
    "order": np.arange(3),
    "name": "a leaf that is not a number",
}


def floats(example: Any) -> list[np.ndarray]:
    return [np.asarray(leaf) for leaf in jax.tree.leaves(example) if getattr(leaf, "dtype", np.dtype(int)).kind == "f"]


def test_an_unmoved_tree_is_the_example() -> None:
    chex.assert_trees_all_equal(floats(tree(TreeDraw(), EXAMPLE)), floats(EXAMPLE), strict=False)


@given(TREE_DRAWS)
def test_a_tree_keeps_its_structure_and_all_leaves_that_are_not_floats(draw: TreeDraw) -> None:
    drawn = tree(draw, EXAMPLE)
    chex.assert_trees_all_equal_structs(drawn, EXAMPLE)
    chex.assert_trees_all_equal_shapes(floats(drawn), floats(EXAMPLE))
    chex.assert_tree_all_finite(floats(drawn))
    assert drawn["name"] == EXAMPLE["name"]
    assert drawn["order"] is EXAMPLE["order"]
    # Every number is a float32 number, and the same draw is the same tree.
    chex.assert_trees_all_equal(floats(drawn), [float32(leaf) for leaf in floats(drawn)])
    chex.assert_trees_all_equal(floats(drawn), floats(tree(draw, EXAMPLE)))


def test_a_moved_tree_has_no_zeros_and_a_multiplied_one_both_signs() -> None:
    drawn = tree(TreeDraw(1.0, True, 4), {"ones": np.ones(100), "zeros": np.zeros(100)})
    assert (drawn["ones"] != 0).all()
    assert (drawn["zeros"] != 0).all()
    assert (np.sign(drawn["ones"]) == -1).any()
    assert (np.sign(drawn["ones"]) == 1).any()


@pytest.mark.parametrize(
    "bounds", [None, (5000, np.inf), (-np.inf, -5000), (3, 4), (np.zeros(3), np.asarray([1, 2, np.inf]))]
)
@given(event_draws(3))
@example(EventDraw(shift=-20.0))
@example(EventDraw(shift=20.0))
def test_an_event_lies_inside_its_support(bounds: Any, draw: EventDraw) -> None:
    support = box(bounds, (3,), "support")
    x = event(draw, (3,), support)
    chex.assert_shape(x, (3,))
    chex.assert_tree_all_finite(x)
    chex.assert_trees_all_equal(x, float32(x))
    assert not support.outside(x).any()


@given(st.lists(st.floats(-20, 20, width=32, allow_subnormal=False), min_size=2, max_size=2))
def test_given_entries_are_taken_as_they_are(entries: list[float]) -> None:
    x = event(EventDraw(entries=tuple(entries)), (2,), box(None, (2,), "support"))
    np.testing.assert_array_equal(x, entries)


def test_a_map_is_not_traced_again_for_each_case() -> None:
    def double(x: jax.Array) -> tuple[jax.Array, jax.Array]:
        return 2 * x, jnp.full(x.shape[:-1], 3 * np.log(2), x.dtype)

    # It is traced for its shapes, derivatives, moved arguments, batches, and float32.
    chex.clear_trace_counter()
    check_bijector(chex.assert_max_traces(double, n=20), event_shape=(3,), examples=60)
