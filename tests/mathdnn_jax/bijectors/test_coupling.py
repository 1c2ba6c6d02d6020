from __future__ import annotations

import flax.linen as nn
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given

from mathdnn_jax.bijectors import Params, additive_coupling, affine_coupling
from mathdnn_jax.bijectors.index_set import index_sets, pick, put
from mathdnn_jax.errors import ConfigurationError
from mathdnn_jax.nets import MLP

from ...drawn import drawn, normal

masks = st.lists(st.booleans(), min_size=2, max_size=9).filter(lambda mask: 0 < sum(mask) < len(mask)).map(np.asarray)


@given(mask=masks)
def test_the_kept_entries_pass_unchanged_and_the_others_move_by_the_shift(mask: np.ndarray) -> None:
    bijector = additive_coupling(MLP((3, int((~mask).sum()))), mask)
    # Integers, with which float32 arithmetic is exact.
    params = jax.tree.map(lambda leaf: np.round(np.asarray(leaf)), drawn(bijector.init, scale=3))
    x = np.random.default_rng(1).integers(-9, 10, (4, len(mask))).astype(np.float32)
    z = np.asarray(jax.jit(bijector.forward)(params, x)[0])
    np.testing.assert_array_equal(z[:, mask], x[:, mask])
    np.testing.assert_array_equal(z[:, ~mask], x[:, ~mask] + perceptron(params, x[:, mask]))


def perceptron(params: Params, x: np.ndarray) -> np.ndarray:
    """The output of an MLP of two layers for x, in NumPy."""
    first, second = (jax.tree.map(np.asarray, params[f"dense_{k}"]) for k in range(2))
    hidden = np.maximum(x @ first["kernel"] + first["bias"], 0)
    return np.asarray(hidden @ second["kernel"] + second["bias"])


@given(mask=masks)
def test_picking_and_putting_are_numpy_indexing(mask: np.ndarray) -> None:
    x = np.arange(2.0 * len(mask), dtype=np.float32).reshape(2, -1)
    sets = index_sets(mask)
    picked = jax.jit(lambda x: [pick(x, entries) for entries in sets])(x)
    back = jax.jit(lambda parts: [put(part, entries) for part, entries in zip(parts, sets, strict=True)])(picked)
    for chosen, part, whole in zip((mask, ~mask), picked, back, strict=True):
        np.testing.assert_array_equal(part, x[:, chosen])
        np.testing.assert_array_equal(whole, np.where(chosen, x, 0))


@pytest.mark.parametrize(
    ("mask", "words"),
    [
        (np.array([True, True]), "2 of 2 entries kept"),
        (np.array([False, False]), "0 of 2 entries kept"),
        (np.array([True]), "1 of 1"),
        (np.array(True), "shape \\(\\)"),
        (np.array([1, 0]), "boolean array, given dtype int64"),
    ],
)
def test_masks_that_are_not_a_proper_subset_are_refused(mask: np.ndarray, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        additive_coupling(MLP((1,)), mask)


def test_a_conditioner_of_the_wrong_width_is_refused() -> None:
    bijector = additive_coupling(MLP((3,)), np.array([True, False, False]))
    with pytest.raises(ConfigurationError, match=r"an array of shape \(5, 2\).*returned \(5, 3\)"):
        jax.eval_shape(bijector.forward, drawn(bijector.init), np.zeros((5, 3), np.float32))


class _WithState(nn.Module):
    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        self.variable("statistics", "count", lambda: jnp.zeros(()))
        return x


def test_a_conditioner_with_state_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"the conditioner of additive_coupling .* state in \['statistics'\]"):
        jax.eval_shape(additive_coupling(_WithState(), np.array([True, False])).init, jax.random.key(0))


@given(mask=masks)
def test_an_affine_coupling_scales_and_shifts_the_moved_entries(mask: np.ndarray) -> None:
    bijector = affine_coupling(MLP((3, 2 * int((~mask).sum()))), mask)
    with jax.enable_x64(True):
        params, x = drawn(bijector.init, dtype=np.float64), np.random.default_rng(1).normal(size=(4, len(mask)))
        z, log_det = map(np.asarray, jax.jit(bijector.forward)(params, x))
    np.testing.assert_array_equal(z[:, mask], x[:, mask])
    log_scale, shift = np.split(perceptron(params, x[:, mask]), 2, axis=-1)
    np.testing.assert_allclose(z[:, ~mask], np.exp(log_scale) * x[:, ~mask] + shift, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(log_det, log_scale.sum(-1), rtol=1e-12, atol=1e-12)


class _Pair(nn.Module):
    """A constant log-scale and a constant shift as two arrays."""

    log_scale: float

    @nn.compact
    def __call__(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        return jnp.full_like(x, self.log_scale), jnp.full_like(x, 2.0)


def test_a_conditioner_may_return_log_scales_and_shifts_apart() -> None:
    z, log_det = affine_coupling(_Pair(0.5), np.array([True, False])).forward({}, jnp.array([3.0, 1.0]))
    np.testing.assert_allclose(z, [3.0, np.exp(0.5) + 2.0], rtol=1e-6)
    np.testing.assert_allclose(log_det, 0.5)


def test_a_bound_on_the_log_scale_holds_and_is_smooth_near_zero() -> None:
    for given_scale, expected in ((1e3, 2.0), (-1e3, -2.0), (1e-3, 1e-3)):
        bijector = affine_coupling(_Pair(given_scale), np.array([True, False]), log_scale_bound=2.0)
        _, log_det = bijector.forward({}, jnp.array([3.0, 1.0]))
        np.testing.assert_allclose(log_det, expected, rtol=1e-6)


@pytest.mark.parametrize("bound", [0.0, -1.0, float("nan"), float("inf")])
def test_a_bound_that_is_not_positive_is_refused(bound: float) -> None:
    with pytest.raises(ConfigurationError, match="positive number"):
        affine_coupling(MLP((2,)), np.array([True, False]), log_scale_bound=bound)


def test_a_layout_of_another_name_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="'kept' or 'masked', given 'flat'"):
        additive_coupling(MLP((1,)), np.array([True, False]), layout="flat")  # type: ignore[arg-type]


def test_a_masked_conditioner_does_not_see_the_moved_entries() -> None:
    mask = np.indices((3, 4)).sum(0) % 2 == 0
    bijector = affine_coupling(MLP((4, 8)), mask, layout="masked")
    params, x = drawn(bijector.init), np.asarray(normal(3, 4))
    sevens = np.full_like(x, 7)
    log_det = jax.jit(lambda x: bijector.forward(params, x)[1])
    assert float(log_det(np.where(mask, x, sevens))) == float(log_det(x))
    assert float(log_det(np.where(mask, sevens, x))) != float(log_det(x))


def test_the_conditioner_receives_kept_channels_as_an_image() -> None:
    shapes = []

    class Spy(nn.Module):
        @nn.compact
        def __call__(self, x: jax.Array) -> jax.Array:
            shapes.append(x.shape)
            return jnp.zeros((*x.shape[:-1], 2))

    mask = np.broadcast_to(np.arange(3) < 1, (4, 5, 3))
    additive_coupling(Spy(), mask).forward({}, jnp.zeros((2, 4, 5, 3)))
    assert shapes == [(2, 4, 5, 1)]


def test_a_context_conditions_and_broadcasts() -> None:
    bijector = affine_coupling(MLP((4, 2)), np.array([True, False]), context_shape=(3,))
    params, x, context = drawn(bijector.init), np.ones((2, 5, 2), np.float32), np.asarray(normal(5, 3))
    forward = jax.jit(bijector.forward)
    log_det = np.asarray(forward(params, x, context)[1])
    assert len(np.unique(log_det)) == 5
    np.testing.assert_array_equal(log_det[0], log_det[1])
    shared = forward(params, x, context[0])[1]
    np.testing.assert_allclose(shared, np.broadcast_to(log_det[0, 0], (2, 5)), rtol=1e-6)


@pytest.mark.parametrize(
    ("shape", "words"), [(None, "given none"), ((4,), r"given an array of shape \(4,\)"), ((7, 3), r"given \(7,\)")]
)
def test_a_context_that_does_not_fit_is_refused(shape: tuple[int, ...] | None, words: str) -> None:
    bijector = affine_coupling(MLP((4, 2)), np.array([True, False]), context_shape=(3,))
    context = None if shape is None else np.zeros(shape, np.float32)
    with pytest.raises(ConfigurationError, match=words):
        jax.eval_shape(bijector.forward, drawn(bijector.init), np.zeros((5, 2), np.float32), context)
