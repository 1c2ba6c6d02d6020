"""How far a float32 result may be off."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from mathdnn_jax.testing.condition import float32_bounds
from mathdnn_jax.testing.programs import STEP, direction
from mathdnn_jax.testing.support import box


def bound_at(distance: float) -> float:
    """Of a step from 0 to 1 that is so many moves away from the event."""

    def step(x: jax.Array) -> tuple[jax.Array, jax.Array]:
        return jax.nn.sigmoid(1e9 * (x - 1 - 2 * distance * STEP)), jnp.zeros(())

    with jax.enable_x64(True):
        one = direction(
            "step", step, (1,), (1,), box(None, (1,), "support"), with_params=False, batched=False, gradients=False
        )
        value, _ = float32_bounds(one.analyse({}, None, np.ones(1)))
    return float(value[0])


def test_a_map_that_is_flat_nearby_alone_may_be_off_by_what_four_moves_make_of_it() -> None:
    assert bound_at(0.5) >= 1
    assert bound_at(2.5) >= 1
    assert bound_at(5.0) < 1e-4
