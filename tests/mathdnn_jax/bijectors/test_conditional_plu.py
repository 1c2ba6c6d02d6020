"""The conditional PLU coupling against its definition and its whole Jacobian (F8)."""

from __future__ import annotations

import functools

import flax.linen as nn
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given

from mathdnn_jax import Bijector
from mathdnn_jax.bijectors import conditional_plu_coupling
from mathdnn_jax.errors import ConfigurationError, EventShapeError

from ...drawn import drawn
from .linear_constructors import Flattened, Pooled
from .programs import primitives
from .test_bijectors import random_params

ORDER = (2, 0, 1)
CONDITIONER = Pooled(9)
conditions = jax.jit(lambda params, x: CONDITIONER.apply({"params": params}, x))


@functools.cache
def compiled() -> tuple[Bijector, jax.stages.Wrapped, jax.stages.Wrapped]:
    bijector = conditional_plu_coupling(CONDITIONER, 3, permutation=ORDER, signs=(1, -1, 1))
    return bijector, jax.jit(bijector.forward), jax.jit(jax.jacfwd(lambda p, x: bijector.forward(p, x)[0], 1))


@pytest.mark.parametrize("shape", [(1, 1), (1, 3), (3, 2)])
@given(seed=st.integers(0, 2**31 - 1))
def test_the_second_half_is_convolved_with_a_matrix_of_the_first(shape: tuple[int, int], seed: int) -> None:
    with jax.enable_x64(True):
        bijector, forward, _ = compiled()
        params = random_params(bijector, seed)
        x = np.random.default_rng(seed + 1).normal(size=(2, *shape, 6))
        z, log_det = forward(params, jnp.asarray(x))
        np.testing.assert_array_equal(z[..., :3], x[..., :3])
        for image, moved, found in zip(x, z[..., 3:], log_det, strict=True):
            m = np.asarray(conditions(params, image[..., :3])).reshape(3, 3)
            s = np.exp(np.diag(m)) * (1, -1, 1)
            a = ((np.tril(m, -1) + np.eye(3)) @ (np.triu(m, 1) + np.diag(s)))[list(ORDER)]
            np.testing.assert_allclose(moved, image[..., 3:] @ a.T, rtol=1e-12, atol=1e-12)
            np.testing.assert_allclose(found, shape[0] * shape[1] * np.log(np.abs(s)).sum(), rtol=1e-12, atol=1e-12)


@given(seed=st.integers(0, 2**31 - 1))
def test_the_lower_left_block_of_the_jacobian_is_not_zero_and_the_log_det_stands(seed: int) -> None:
    with jax.enable_x64(True):
        bijector, forward, jacobian = compiled()
        params = random_params(bijector, seed)
        x = jnp.asarray(np.random.default_rng(seed + 1).normal(size=(2, 2, 6)))
        whole = np.asarray(jacobian(params, x)).reshape(4, 6, 4, 6)
        # Both sides in the order (half, pixel, channel).
        blocks = whole.reshape(4, 2, 3, 4, 2, 3).transpose(1, 0, 2, 4, 3, 5).reshape(2, 12, 2, 12)
        np.testing.assert_array_equal(blocks[0, :, 0], np.eye(12))
        np.testing.assert_array_equal(blocks[0, :, 1], np.zeros((12, 12)))
        assert np.abs(blocks[1, :, 0]).max() > 1e-3
        _, log_det = forward(params, x)
        np.testing.assert_allclose(log_det, np.linalg.slogdet(blocks.reshape(24, 24))[1], rtol=0, atol=1e-11)
        np.testing.assert_allclose(log_det, np.linalg.slogdet(blocks[1, :, 1])[1], rtol=0, atol=1e-11)
        # The block that the course's Jacobian omits (erratum E8) also appears in the inverse: it is not rounding noise.
        lower_left = np.linalg.inv(blocks.reshape(24, 24))[12:, :12]
        assert np.abs(lower_left).max() > 1e-3


class _Returns(nn.Module):
    """One matrix for every image."""

    entries: tuple[float, ...]

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        return jnp.broadcast_to(jnp.asarray(self.entries, x.dtype), (*x.shape[:-3], len(self.entries)))


def test_a_zero_matrix_is_the_permutation_alone() -> None:
    x = jnp.arange(12.0).reshape(1, 2, 6)
    z, log_det = conditional_plu_coupling(_Returns((0.0,) * 9), 3, permutation=ORDER).forward({}, x)
    np.testing.assert_array_equal(z, np.asarray(x)[..., [0, 1, 2, 5, 3, 4]])
    assert float(log_det) == 0


def test_a_bound_on_the_log_scale_holds() -> None:
    for entry, expected in ((1e3, 2.0), (-1e3, -2.0), (1e-3, 1e-3)):
        bijector = conditional_plu_coupling(_Returns((entry, 0.0, 0.0, entry)), 2, log_scale_bound=2.0)
        np.testing.assert_allclose(bijector.forward({}, jnp.ones((1, 3, 4)))[1], 6 * expected, rtol=1e-6)


def test_events_of_any_size_but_where_the_conditioner_is_built_for_one() -> None:
    bijector = conditional_plu_coupling(Pooled(4), 2)
    params = drawn(bijector.init)
    for shape in ((1, 1, 4), (5, 2, 4)):
        assert jax.eval_shape(bijector.forward, params, np.ones(shape, np.float32))[0].shape == shape
    bijector = conditional_plu_coupling(Flattened(4), 2, image_shape=(3, 2))
    params = drawn(bijector.init)
    assert params["Dense_0"]["kernel"].shape == (12, 4)
    with pytest.raises(EventShapeError, match=r"acts on events of shape \(3, 2, 4\)"):
        jax.eval_shape(bijector.forward, params, np.ones((2, 3, 4), np.float32))


def test_an_odd_number_of_channels_is_refused() -> None:
    with pytest.raises(EventShapeError, match=r"images of shape \(H, W, 4\), given an array of shape \(1, 1, 5\)"):
        conditional_plu_coupling(_Returns((0.0,) * 4), 2).forward({}, jnp.ones((1, 1, 5)))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"channels": 0}, "with at least one row, given 0"),
        ({"permutation": (0, 2)}, r"given \[0, 2\]"),
        ({"signs": (1,)}, r"each of 2 channels, given \(1,\)"),
        ({"signs": (1, 0)}, r"given \(1, 0\)"),
        ({"log_scale_bound": -1.0}, "positive number"),
        ({"image_shape": (2,)}, r"given \(2,\)"),
        ({"image_shape": (0, 2)}, r"given \(0, 2\)"),
    ],
)
def test_impossible_arguments_are_refused(arguments: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        conditional_plu_coupling(_Returns((0.0,) * 4), **({"channels": 2} | arguments))  # type: ignore[arg-type]


def test_a_conditioner_of_the_wrong_width_is_refused() -> None:
    bijector = conditional_plu_coupling(_Returns((0.0,) * 5), 2)
    with pytest.raises(ConfigurationError, match=r"an array of shape \(7, 4\); it returned \(7, 5\)"):
        jax.eval_shape(bijector.forward, {}, np.ones((7, 1, 1, 4), np.float32))


def test_a_missing_context_is_named() -> None:
    bijector = conditional_plu_coupling(Pooled(4), 2, context_shape=(3,))
    with pytest.raises(ConfigurationError, match=r"conditional_plu_coupling was built with a context of shape \(3,\)"):
        jax.eval_shape(bijector.forward, drawn(bijector.init), np.ones((1, 1, 4), np.float32))


def test_no_program_holds_a_dense_inverse_or_determinant() -> None:
    bijector, _, _ = compiled()
    params = jax.eval_shape(bijector.init, jax.random.key(0))
    for shape in ((1, 2, 6), (5, 4, 3, 6)):
        x = jax.ShapeDtypeStruct(shape, np.float32)
        assert not {"lu", "triangular_solve", "custom_linear_solve"} & primitives(bijector.forward, params, x)
        inverse = primitives(bijector.inverse, params, x)
        assert "triangular_solve" in inverse
        assert not {"lu", "custom_linear_solve"} & inverse
