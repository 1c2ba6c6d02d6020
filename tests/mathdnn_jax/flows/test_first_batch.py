"""A first batch sets every actnorm of a conditional Glow, at every level, from what reaches it under the context."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from mathdnn_jax import glow

from ...drawn import drawn, normal

EPS = float(np.finfo(np.float64).eps)
SHAPE, CLASSES, COUNT = (4, 4, 1), 3, 60


def without_mixing(params: dict[str, Any]) -> dict[str, Any]:
    """The parameters of a PLU map of the same size whose L, U and s are the identity, so that P alone is left."""
    return {name: np.full_like(leaf, name == "diagonal") for name, leaf in params.items()}


def test_every_channel_of_every_level_has_mean_0_and_deviation_1_afterwards() -> None:
    flow = glow(SHAPE, levels=2, steps=2, width=6, classes=CLASSES)
    labels = np.arange(COUNT, dtype=np.int32) % CLASSES
    with jax.enable_x64(True):
        x = np.random.default_rng(0).uniform(0.02, 0.98, (COUNT, *SHAPE))
        params = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), flow.init(jax.random.key(0)))
        moved = drawn(flow.init, scale=2.0, dtype=np.float64)
        # The couplings of the first steps use the labels. Those of the last steps and the learnt prior start as the
        # identity and the last mixing only reorders, so that z consists of what each level's last actnorm returns.
        for here, there in (
            (params["level_0"], moved["level_0"]),
            (params["level_0"]["split"]["rest"], moved["level_0"]["split"]["rest"]),
        ):
            here["step_0"]["coupling"] = there["step_0"]["coupling"]
            here["step_1"]["conv1x1"] = without_mixing(here["step_1"]["conv1x1"])
        first = jax.jit(flow.init_from_data)(params, x, labels)
        forward = jax.jit(flow.forward)
        z = np.asarray(forward(first, x, labels)[0])
        others = np.asarray(forward(first, x, np.roll(labels, 1))[0])
    # Level 0 factors out two channels of 2 × 2 pixels, level 1 ends with eight channels of one pixel.
    for values in (z[:, :8].reshape(-1, 2), z[:, 8:]):
        np.testing.assert_allclose(values.mean(0), 0, atol=64 * EPS)
        np.testing.assert_allclose(values.std(0), 1, rtol=64 * EPS)
    # The test would prove nothing if the labels did not matter.
    assert np.abs(others - z)[:, 8:].max() > 0.1


def test_the_mixing_of_a_step_starts_as_the_reversal_and_its_coupling_keeps_the_first_half() -> None:
    flow = glow((2, 2, 1), levels=1, steps=1, width=3)
    step = dict(dict(dict(flow.bijector.parts)["level_0"].parts)["step_0"].parts)
    x = normal(5, 1, 1, 4)
    mixed, _ = step["conv1x1"].forward(without_mixing(drawn(step["conv1x1"].init)), x)
    np.testing.assert_array_equal(mixed, x[..., ::-1])
    coupled, _ = jax.jit(step["coupling"].forward)(drawn(step["coupling"].init), x)
    unchanged = (np.asarray(coupled) == x).all((0, 1, 2))
    np.testing.assert_array_equal(unchanged, [True, True, False, False])


def test_a_step_of_conditional_plu_couplings_reverses_the_channels_first() -> None:
    flow = glow((2, 2, 1), levels=1, steps=1, width=3, mixing="conditional_plu")
    step = dict(dict(dict(flow.bijector.parts)["level_0"].parts)["step_0"].parts)
    assert list(step) == ["actnorm", "permutation", "conditional_plu", "coupling"]
    x = normal(1, 1, 4)
    np.testing.assert_array_equal(step["permutation"].forward({}, x)[0], x[..., ::-1])
