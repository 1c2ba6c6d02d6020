from __future__ import annotations

from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mathdnn_jax import flow, nice
from mathdnn_jax.bijectors import additive_coupling
from mathdnn_jax.errors import ConfigurationError, DataSetError, ImageError, NonFiniteError
from mathdnn_jax.nets import MLP
from mathdnn_jax.probability import normal
from mathdnn_jax.tasks import corrupt, inpaint, projected_ascent, rectangle

from ...drawn import drawn
from .ascent_by_hand import accumulating_ascent, climb, climb_with_halvings, quadratic

DIM, STEPS = 5, 12
FLOW = nice(dim=16, width=8, depth=1, couplings=2)
PARAMS = drawn(FLOW.init, scale=0.5)
MASK = rectangle((4, 4), (1, 3), (0, 4))


@cache
def compiled(step_size: float, momentum: float, decreasing: bool, halvings: int = 0, steps: int = STEPS) -> Any:
    def schedule(count: jax.Array) -> jax.Array:
        return step_size / (1 + count.astype(float))

    optimizer = optax.sgd(schedule if decreasing else step_size, momentum=momentum or None)
    return jax.jit(partial(projected_ascent, quadratic, optimizer=optimizer, steps=steps, halvings=halvings))


@cache
def accumulating(steps: int) -> Any:
    return jax.jit(partial(accumulating_ascent, quadratic, step_size=1e-3, steps=steps))


def problem(seed: int, batch: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """A quadratic whose unconstrained maximum is often outside the box, starting points, and a mask for each event."""
    rng = np.random.default_rng(seed)
    matrix = rng.normal(size=(DIM, DIM))
    return matrix, rng.normal(size=DIM), rng.random((*batch, DIM)), rng.random((*batch, DIM)) < 0.6


@given(
    seed=st.integers(0, 1000),
    batch=st.sampled_from([(), (3,), (2, 2)]),
    momentum=st.sampled_from([0.0, 0.9]),
    decreasing=st.booleans(),
)
def test_it_is_the_loop_written_out(seed: int, batch: tuple[int, ...], momentum: float, decreasing: bool) -> None:
    matrix, centre, x, missing = problem(seed, batch)
    expected = climb(matrix, centre, x, missing, lambda k: 0.05 / (1 + k) if decreasing else 0.05, momentum, STEPS)
    with jax.enable_x64(True):
        params = (jnp.asarray(matrix), jnp.asarray(centre))
        end, history = compiled(0.05, momentum, decreasing)(params, jnp.asarray(x), jnp.asarray(missing))
    # Every step multiplies a difference by at most 1 + 0.05 ‖A‖² and momentum; twelve of them stay far below 1e3.
    scale = 1e3 * np.finfo(float).eps * (1 + np.linalg.norm(matrix, 2) ** 2) ** 2
    np.testing.assert_allclose(end, expected[0], rtol=0, atol=scale)
    np.testing.assert_allclose(history, expected[1], rtol=0, atol=scale * (1 + np.abs(expected[1]).max()))
    assert history.shape == (STEPS + 1, *batch)


@given(seed=st.integers(0, 1000), halvings=st.sampled_from([0, 8]))
def test_kept_entries_stay_to_the_bit_and_others_in_the_box(seed: int, halvings: int) -> None:
    matrix, centre, x, missing = problem(seed, (3,))
    # Values that clipping or arithmetic would change if it touched them.
    x = np.where(missing, x, np.where(x < 0.5, -0.0, np.float64(0.1) + np.float64(0.2))).astype(np.float32)
    params = (jnp.asarray(matrix, jnp.float32), jnp.asarray(centre, jnp.float32))
    end = np.asarray(compiled(5.0, 0.0, False, halvings)(params, jnp.asarray(x), jnp.asarray(missing))[0])
    assert end.dtype == np.float32
    assert end[~missing].tobytes() == x[~missing].tobytes()
    assert ((end >= 0) & (end <= 1))[missing].all()
    assert (end[missing] != x[missing]).any()


@given(
    seed=st.integers(0, 1000),
    step_size=st.sampled_from([0.01, 3.0]),
    momentum=st.sampled_from([0.0, 0.5, 0.9, 0.99]),
    halvings=st.sampled_from([1, 2, 20]),
)
def test_with_backtracking_log_p_never_falls(seed: int, step_size: float, momentum: float, halvings: int) -> None:
    matrix, centre, x, missing = problem(seed, (4,))
    params = (jnp.asarray(matrix, jnp.float32), jnp.asarray(centre, jnp.float32))
    run = compiled(step_size, momentum, False, halvings)
    _, history = run(params, jnp.asarray(x, jnp.float32), jnp.asarray(missing))
    assert (np.diff(history, axis=0) >= 0).all()


def test_the_backtracking_is_the_loop_written_out() -> None:
    halved = 0
    for seed in range(6):
        matrix, centre, x, _ = problem(seed, ())
        expected, values, count = climb_with_halvings(matrix, centre, x, 3.0, 0.9, STEPS, 3)
        with jax.enable_x64(True):
            params = (jnp.asarray(matrix), jnp.asarray(centre))
            mask = jnp.ones(x.shape, jnp.bool_)
            end, history = compiled(3.0, 0.9, False, 3)(params, jnp.asarray(x), mask)
        np.testing.assert_allclose(end, expected, rtol=0, atol=1e-9)
        np.testing.assert_allclose(history, values, rtol=1e-9, atol=1e-9)
        halved += count
    assert halved > STEPS


def test_momentum_that_points_downhill_is_not_followed_even_where_its_slope_predicts_the_fall() -> None:
    """log p = −x⁴ falls along the update, but by less than 1e-4 of what its slope at the start predicts.

    Such a function does not exist for small steps, so the slope is made a thousand times too great, as it is where
    log p bends sharply; f + 1e-4 · slope alone would accept the fall.
    """

    @jax.custom_jvp
    def steep(x: jax.Array) -> jax.Array:
        return -x.sum(-1)

    steep.defjvp(lambda primals, tangents: (steep(*primals), -1e6 * tangents[0].sum(-1)))
    uphill_never = optax.GradientTransformation(
        lambda params: (), lambda updates, state, params=None: (jnp.full_like(updates, 0.25), state)
    )
    x, missing = jnp.full((1, 2), 0.5, jnp.float32), jnp.ones((1, 2), jnp.bool_)
    end, history = projected_ascent(lambda _, x: steep(x), (), x, missing, optimizer=uphill_never, steps=3, halvings=2)
    np.testing.assert_array_equal(history, np.full((4, 1), -1, np.float32))
    np.testing.assert_array_equal(end, x)


def test_a_fixed_step_overshoots_where_backtracking_arrives() -> None:
    matrix, centre = np.diag([1.0, 2.0, 3.0, 4.0, 5.0]), np.full(5, 0.5)
    params = (jnp.asarray(matrix, jnp.float32), jnp.asarray(centre, jnp.float32))
    x, missing = jnp.linspace(0, 1, 15, dtype=jnp.float32).reshape(3, 5), jnp.ones((3, 5), jnp.bool_)
    _, fixed = compiled(3.0, 0.0, False, 0, 100)(params, x, missing)
    end, halved = compiled(3.0, 0.0, False, 20, 100)(params, x, missing)
    assert (np.diff(fixed, axis=0) < 0).any()
    assert fixed[-1].max() < -1
    np.testing.assert_allclose(end, 0.5 * np.ones((3, 5)), atol=1e-3)
    assert (np.diff(halved, axis=0) >= 0).all()


def test_events_do_not_influence_each_other() -> None:
    matrix, centre, x, missing = problem(3, (4,))
    params = (jnp.asarray(matrix, jnp.float32), jnp.asarray(centre, jnp.float32))
    for halvings in (0, 10):
        run = compiled(0.5, 0.9, False, halvings)
        together = run(params, jnp.asarray(x, jnp.float32), jnp.asarray(missing))
        for k in range(4):
            alone = run(params, jnp.asarray(x[k], jnp.float32), jnp.asarray(missing[k]))
            np.testing.assert_allclose(together[0][k], alone[0], rtol=0, atol=1e-4)
            np.testing.assert_allclose(together[1][:, k], alone[1], rtol=1e-3, atol=1e-3)


@given(seed=st.integers(0, 1000))
def test_accumulated_gradients_are_another_trajectory_from_the_second_step_on(seed: int) -> None:
    matrix, centre, x, missing = problem(seed, ())
    missing[0], x[0], centre[0] = True, 0.5, 3.0
    with jax.enable_x64(True):
        params, start, mask = (jnp.asarray(matrix), jnp.asarray(centre)), jnp.asarray(x), jnp.asarray(missing)
        for steps in (1, 2):
            cleared = compiled(1e-3, 0.0, False, steps=steps)(params, start, mask)[0]
            added = accumulating(steps)(params, start, mask)[0]
            by_hand = climb(matrix, centre, x, missing, lambda _: 1e-3, 1.0, steps)[0]
            np.testing.assert_allclose(added, by_hand, rtol=0, atol=1e-12)
            assert (np.abs(added - cleared).max() > 1e-9) == (steps == 2)


def test_images_keep_their_shape_and_log_p_is_that_of_the_flow() -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, 4, 4)).astype(np.uint8)
    start = corrupt(images, MASK, 0.25)
    found = inpaint(FLOW, PARAMS, start, MASK, steps=20, step_size=0.01)
    assert found.images.shape == (3, 4, 4)
    assert found.images.dtype == np.float32
    np.testing.assert_array_equal(found.images[:, ~MASK], images[:, ~MASK].astype(np.float32) / np.float32(255))
    for images_then, log_prob in ((start, found.log_prob[0]), (found.images, found.log_prob[-1])):
        events = jnp.asarray(images_then.reshape(3, 16))
        np.testing.assert_allclose(jax.jit(FLOW.log_prob)(PARAMS, events), log_prob, rtol=1e-5)
    assert (found.log_prob[-1] > found.log_prob[0]).all()
    assert found.log_prob.shape == (21, 3)


def test_the_best_image_is_kept_though_later_steps_overshoot() -> None:
    images = np.random.default_rng(0).integers(0, 256, (6, 4, 4)).astype(np.uint8)
    found = inpaint(FLOW, PARAMS, corrupt(images, MASK, 0.25), MASK, steps=20, step_size=5.0)
    assert (found.best_step < 20).any()
    assert (found.best_step == found.log_prob.argmax(0)).all()
    log_prob = jax.jit(FLOW.log_prob)(PARAMS, jnp.asarray(found.images.reshape(6, 16)))
    np.testing.assert_allclose(log_prob, found.log_prob.max(0), rtol=1e-5)


def test_the_best_point_is_the_one_a_loop_would_keep() -> None:
    matrix, centre, x, missing = problem(2, (4,))
    params = (jnp.asarray(matrix, jnp.float32), jnp.asarray(centre, jnp.float32))
    start = jnp.asarray(x, jnp.float32)
    run = partial(projected_ascent, quadratic, params, start, jnp.asarray(missing), optimizer=optax.sgd(3.0))
    points, best, history = jax.jit(lambda: ([run(steps=k)[0] for k in range(5)], *run(steps=4, keep_best=True)))()
    chosen = np.asarray(history).argmax(0)
    assert len(set(chosen.tolist())) > 1
    for event, step in enumerate(chosen):
        np.testing.assert_allclose(best[event], points[step][event], rtol=1e-6)


def test_masks_may_differ_and_momentum_and_schedules_are_optaxs() -> None:
    images = np.random.default_rng(1).random((2, 4, 4))
    masks = np.stack([MASK, ~MASK])
    settings: dict[str, Any] = {"steps": 9, "step_size": optax.cosine_decay_schedule(0.02, 9), "momentum": 0.5}
    found = inpaint(FLOW, PARAMS, images, masks, **settings)
    for k in range(2):
        alone = inpaint(FLOW, PARAMS, images[k : k + 1], masks[k], **settings)
        np.testing.assert_allclose(found.images[k], alone.images[0], rtol=0, atol=1e-5)
        assert (found.images[k] != images[k].astype(np.float32))[masks[k]].any()
    plain = inpaint(FLOW, PARAMS, images, masks, steps=9, step_size=0.02)
    assert np.abs(plain.images - found.images).max() > 1e-4


def test_without_missing_pixels_or_steps_nothing_changes() -> None:
    images = np.random.default_rng(1).random((2, 4, 4)).astype(np.float32)
    for mask, steps in ((np.zeros((4, 4), bool), 5), (MASK, 0)):
        np.testing.assert_array_equal(inpaint(FLOW, PARAMS, images, mask, steps=steps).images, images)


def test_a_second_call_is_not_compiled_again() -> None:
    traced = []

    def spy(params: Any, x: jax.Array) -> jax.Array:
        traced.append(x.shape)
        return FLOW.log_prob(params, x)

    images = np.zeros((2, 4, 4), np.uint8)
    for step_size in (0.01, 0.01):
        inpaint(FLOW._replace(log_prob=spy), PARAMS, images, MASK, steps=3, step_size=step_size)
        count = len(traced)
        inpaint(FLOW._replace(log_prob=spy), PARAMS, images, ~MASK, steps=3, step_size=step_size)
        assert len(traced) == count > 0


@pytest.mark.parametrize("channels", [1, 2])
def test_a_flow_on_images_takes_images(channels: int) -> None:
    checkerboard = (np.indices((4, 4)).sum(0) % 2 == 0)[..., None] & np.ones(channels, bool)
    coupling = additive_coupling(MLP((int((~checkerboard).sum()),)), mask=checkerboard)
    on_images = flow(coupling, normal((4, 4, channels)))
    params = on_images.init(jax.random.key(0))
    images = np.random.default_rng(0).random((2, 4, 4) if channels == 1 else (2, 4, 4, channels)).astype(np.float32)
    mask = np.zeros(images.shape[1:], bool)
    mask[:2] = True
    found = inpaint(on_images, params, images, mask, steps=20, step_size=0.1)
    assert found.images.shape == images.shape
    assert (np.diff(found.log_prob, axis=0) >= 0).all()
    assert (found.images[:, 2:] == images[:, 2:]).all()


GOOD = np.full((2, 4, 4), 0.5)


@pytest.mark.parametrize(
    ("images", "mask", "settings", "error", "words"),
    [
        (GOOD, MASK[:3], {}, ConfigurationError, r"\(2, 4, 4\), or of one image, \(4, 4\); given \(3, 4\)"),
        (GOOD, MASK.astype(np.uint8), {}, ConfigurationError, "boolean.*given uint8"),
        (GOOD * 3, MASK, {}, ImageError, "1.5"),
        (GOOD * np.nan, MASK, {}, ImageError, "NaN"),
        (GOOD[:, :3], MASK[:3], {}, ImageError, "12 pixels"),
        (GOOD[:0], MASK, {}, DataSetError, "no images"),
        (GOOD, MASK, {"steps": -1}, ConfigurationError, "wrong: steps"),
        (GOOD, MASK, {"step_size": 0.0}, ConfigurationError, "wrong: step_size"),
        (GOOD, MASK, {"step_size": np.nan}, ConfigurationError, "wrong: step_size"),
        (GOOD, MASK, {"momentum": 1.0}, ConfigurationError, "wrong: momentum"),
        (GOOD, MASK, {"halvings": -1}, ConfigurationError, "wrong: halvings"),
    ],
)
def test_bad_input_is_named(
    images: np.ndarray, mask: np.ndarray, settings: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        inpaint(FLOW, PARAMS, images, mask, **settings)


def test_a_density_that_leaves_the_numbers_is_named() -> None:
    broken = FLOW._replace(log_prob=lambda params, x: FLOW.log_prob(params, x) / jnp.where(x[..., 0] > 0.7, 0.0, 1.0))
    images = np.stack([np.zeros((4, 4)), np.ones((4, 4))])
    with pytest.raises(NonFiniteError, match="inf for image 1 after 0 steps"):
        inpaint(broken, PARAMS, images, MASK, steps=2)


def test_corrupted_images_and_rectangles() -> None:
    assert rectangle((28, 28), (5, 12), (5, 20)).sum() == 7 * 15
    images = np.full((2, 4, 4), 51, np.uint8)
    found = corrupt(images, MASK)
    assert (found[:, MASK] == 1).all()
    assert (found[:, ~MASK] == np.float32(0.2)).all()
    for rows, columns in (((3, 3), (0, 4)), ((0, 5), (0, 4)), ((0, 4), (-1, 2))):
        with pytest.raises(ConfigurationError, match="are not within"):
            rectangle((4, 4), rows, columns)
    for value in (1.5, float("nan")):
        with pytest.raises(ImageError, match="value="):
            corrupt(images, MASK, value)
