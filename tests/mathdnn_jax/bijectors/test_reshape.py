"""Permutations, reshapes and squeezes; the log-determinant does not depend on how events are flattened (F6)."""

from __future__ import annotations

import functools

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given

from mathdnn_jax import Bijector, chain, invert
from mathdnn_jax.bijectors import permutation, reshape, squeeze
from mathdnn_jax.errors import ConfigurationError, EventShapeError

from .linear_constructors import LINEAR
from .test_bijectors import random_context, random_events, random_params


@functools.cache
def compiled(name: str) -> Bijector:
    bijector = LINEAR[name].bijector
    return bijector._replace(forward=jax.jit(bijector.forward))


TENSORS = [name for name, case in LINEAR.items() if len(case.event_shape) > 1 and case.z_shape == case.event_shape]


@given(name=st.sampled_from(TENSORS), seed=st.integers(0, 2**31 - 1))
def test_the_log_det_does_not_depend_on_the_order_of_the_entries(name: str, seed: int) -> None:
    with jax.enable_x64(True):
        case = LINEAR[name]
        size = int(np.prod(case.event_shape))
        params, x = random_params(case.bijector, seed % 7), random_events(case, seed % 7)
        context = random_context(case, seed % 7)
        order = permutation(np.random.default_rng(seed).permutation(size))
        flat = reshape(case.event_shape, (size,))
        bijector = compiled(name)
        reordered = chain(back=invert(order), tensor=invert(flat), map=bijector, flat=flat, order=order)
        whole = {"back": {}, "tensor": {}, "map": params, "flat": {}, "order": {}}
        vector = np.asarray(x).ravel()[np.random.default_rng(seed).permutation(size)]
        z, log_det = reordered.forward(whole, jnp.asarray(vector), context)
        expected_z, expected = bijector.forward(params, x, context)
        np.testing.assert_array_equal(np.sort(z), np.sort(expected_z, axis=None))
        np.testing.assert_array_equal(log_det, expected)


def test_the_jacobians_determinant_does_not_depend_on_the_order_of_the_entries() -> None:
    with jax.enable_x64(True):
        rng = np.random.default_rng(0)
        for name in TENSORS:
            case = LINEAR[name]
            params, x, context = random_params(case.bijector, 0), random_events(case, 0), random_context(case, 0)
            whole, log_det = jax.jit(jax.jacfwd(case.bijector.forward, 1, has_aux=True))(params, x, context)
            matrix = np.asarray(whole).reshape(x.size, x.size)
            for _ in range(5):
                order = rng.permutation(x.size)
                determinant = np.linalg.slogdet(matrix[np.ix_(order, order)])[1]
                np.testing.assert_allclose(log_det, determinant, rtol=0, atol=1e-10)


@given(order=st.permutations(range(5)))
def test_a_permutation_is_numpy_indexing(order: list[int]) -> None:
    x = np.arange(10.0, dtype=np.float32).reshape(2, 5)
    bijector = permutation(order)
    z, _ = bijector.forward({}, jnp.asarray(x))
    np.testing.assert_array_equal(z, x[:, order])
    np.testing.assert_array_equal(bijector.inverse({}, z)[0], x)


def test_a_squeeze_lays_the_sub_pixels_of_a_channel_side_by_side() -> None:
    x = np.random.default_rng(0).normal(size=(2, 6, 4, 3)).astype(np.float32)
    z, _ = squeeze((6, 4, 3)).forward({}, jnp.asarray(x))
    for h, w, c, i, j in np.ndindex(3, 2, 3, 2, 2):
        np.testing.assert_array_equal(z[:, h, w, 4 * c + 2 * i + j], x[:, 2 * h + i, 2 * w + j, c])


@pytest.mark.parametrize("shape", [(3, 2, 1), (2, 3, 1), (1, 1, 4)])
def test_odd_sizes_are_refused(shape: tuple[int, int, int]) -> None:
    with pytest.raises(ConfigurationError, match="must be even"):
        squeeze(shape)


@pytest.mark.parametrize("shape", [(2, 2), (2, 2, 0), (2, 2, 1, 1)])
def test_events_that_are_not_images_are_refused(shape: tuple[int, int, int]) -> None:
    with pytest.raises(ConfigurationError, match=r"\(height, width, channels\)"):
        squeeze(shape)


def test_a_reshape_keeps_the_order_of_the_entries() -> None:
    x = np.arange(24.0, dtype=np.float32).reshape(2, 2, 6)
    z, _ = reshape((2, 6), (3, 4)).forward({}, jnp.asarray(x))
    np.testing.assert_array_equal(z, x.reshape(2, 3, 4))


@pytest.mark.parametrize(
    ("shapes", "words"),
    [
        (((2, 3), (5,)), r"\(2, 3\) with 6 entries and \(5,\) with 5"),
        (((0,), (0, 2)), "at least one"),
        (((4,), (-1,)), "at least one"),
    ],
)
def test_shapes_of_other_sizes_are_refused(shapes: tuple[tuple[int, ...], tuple[int, ...]], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        reshape(*shapes)


@pytest.mark.parametrize("order", [(), (1,), (0, 0), (0, 2), (0.0, 1.0), ((0, 1), (1, 0)), 3])
def test_indices_that_are_not_a_permutation_are_refused(order: object) -> None:
    with pytest.raises(ConfigurationError, match="in some order, each of them once"):
        permutation(order)  # type: ignore[arg-type]


def test_a_permutation_without_an_axis_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="event_ndims=0"):
        permutation((0, 1), event_ndims=0)


def test_an_empty_image_is_refused() -> None:
    with pytest.raises(EventShapeError, match=r"events of shape \(…, …, 2\), given an array of shape \(0, 3, 2\)"):
        permutation((1, 0), event_ndims=3).forward({}, jnp.zeros((0, 3, 2)))
