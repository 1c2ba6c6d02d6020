"""The bounds of float32 results."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from mathdnn_jax.testing.condition import float32_bounds
from mathdnn_jax.testing.programs import STEP, direction
from mathdnn_jax.testing.support import box


def bound_at(distance: float) -> float:
    """Return the bound for a function that steps from 0 to 1 at a distance of this many moves from the event."""

    def step(x: jax.Array) -> tuple[jax.Array, jax.Array]:
        return jax.nn.sigmoid(1e9 * (x - 1 - 2 * distance * STEP)), jnp.zeros(())

    with jax.enable_x64(True):
        one = direction(
            "step", step, (1,), (1,), box(None, (1,), "support"), with_params=False, batched=False, gradients=False
        )
        value, _ = float32_bounds(one.analyse({}, None, np.ones(1)))
    return float(value[0])


def test_a_map_that_is_flat_only_nearby_may_be_off_by_the_change_of_four_moves() -> None:
    assert bound_at(0.5) >= 1
    assert bound_at(2.5) >= 1
    assert bound_at(5.0) < 1e-4
