"""Factoring out: the density of what leaves, the order of the entries of z, and what is refused."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import norm

from mathdnn_jax import chain, flow
from mathdnn_jax.bijectors import additive_coupling, affine_coupling, plu, scaling, split, squeeze
from mathdnn_jax.errors import ConfigurationError, EventShapeError
from mathdnn_jax.nets import MLP
from mathdnn_jax.probability import normal

from ...drawn import drawn
from ...drawn import normal as normal_numbers


class _Prior(nn.Module):
    """Log-scales and means that are simple functions of h."""

    @nn.compact
    def __call__(self, h: jax.Array) -> tuple[jax.Array, jax.Array]:
        return 0.3 * h, jnp.sin(h)


def test_the_entries_that_leave_have_the_conditional_density_of_the_prior() -> None:
    with jax.enable_x64(True):
        x = np.random.default_rng(0).normal(size=(5, 4))
        density = flow(split(scaling(2), (4,), _Prior()), normal((4,)))
        params = {"prior": {}, "rest": {"log_scale": jnp.array([0.5, -1.0])}}
        h, out = x[:, :2], x[:, 2:]
        scale = np.exp([0.5, -1.0])
        expected = norm.logpdf(h * scale) + np.log(scale) + norm.logpdf(out, np.sin(h), np.exp(0.3 * h))
        np.testing.assert_allclose(jax.jit(density.log_prob)(params, x), expected.sum(-1), rtol=1e-12)


def test_z_holds_the_entries_that_leave_before_those_that_go_on() -> None:
    x = np.random.default_rng(0).normal(size=(3, 2, 2, 4)).astype(np.float32)
    bijector = split(squeeze((2, 2, 1)), (2, 2, 4), kept=1)
    z, log_det = bijector.forward(bijector.init(jax.random.key(0)), jnp.asarray(x))
    np.testing.assert_array_equal(z[:, :12], x[..., 1:].reshape(3, 12))
    np.testing.assert_array_equal(z[:, 12:], x[..., :1].reshape(3, 4))
    np.testing.assert_array_equal(log_det, np.zeros(3))
    assert (bijector.event_ndims, bijector.latent_ndims) == (3, 1)


def test_its_parts_are_the_prior_and_the_rest_and_applied_in_order_they_are_the_map() -> None:
    bijector = split(plu(2), (4,), MLP((4,)))
    assert [name for name, _ in bijector.parts] == ["prior", "rest"]
    assert [name for name, _ in split(plu(2), (4,)).parts] == ["rest"]
    params = drawn(bijector.init)
    assert set(params["rest"]) == {"lower", "upper", "diagonal"}
    z = x = jnp.arange(4.0)
    for name, part in bijector.parts:
        z, _ = part.forward(params[name], z)
    np.testing.assert_array_equal(z, bijector.forward(params, x)[0])


def test_a_split_needs_data_only_if_the_rest_does() -> None:
    assert split(plu(2), (4,)).init_from_data is None


@pytest.mark.parametrize(
    ("shape", "kept", "words"),
    [((5,), None, "an odd number, 5"), ((2, 2, 3), None, "3; set kept="), ((4,), 0, "kept=0 of 4"),
     ((4,), 4, "kept=4 of 4"), ((4,), -1, "kept=-1"), ((1,), 1, "kept=1 of 1"), ((), None, r"given \(\)"),
     ((0, 4), None, r"given \(0, 4\)")],
)  # fmt: skip
def test_divisions_that_leave_a_side_empty_are_refused(shape: tuple[int, ...], kept: int | None, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        split(scaling(2), shape, kept=kept)


def test_a_rest_for_other_events_is_refused_when_built() -> None:
    with pytest.raises(
        EventShapeError, match=r"scaling acts on events of shape \(3,\), given an array of shape \(2,\)"
    ):
        split(scaling(3), (4,))
    with pytest.raises(ConfigurationError, match=r"given none"):
        split(additive_coupling(MLP((1,)), np.array([True, False]), context_shape=(2,)), (4,))


def test_a_prior_of_the_wrong_width_is_refused() -> None:
    bijector = split(scaling(1), (4,), MLP((4,)), kept=1)
    with pytest.raises(ConfigurationError, match=r"of shape \(6,\)"):
        jax.eval_shape(bijector.forward, drawn(bijector.init), np.zeros(4, np.float32))


def test_events_of_another_shape_are_refused() -> None:
    bijector = split(scaling(2), (4,))
    for function in (bijector.forward, bijector.inverse):
        with pytest.raises(EventShapeError, match=r"split acts on events of shape \(4,\)"):
            jax.eval_shape(function, drawn(bijector.init), np.zeros(5, np.float32))


def test_a_context_reaches_the_prior_and_the_rest() -> None:
    half = np.array([True, False])
    rest = affine_coupling(MLP((4, 2), nn.tanh), half, context_shape=(3,))
    bijector = chain(whole=split(rest, (4,), MLP((4, 4), nn.tanh), context_shape=(3,)))
    params, forward = drawn(bijector.init), jax.jit(bijector.forward)
    x, zeros, ones = np.arange(4, dtype=np.float32), np.zeros(3, np.float32), np.ones(3, np.float32)
    z, _ = forward(params, x, zeros)
    moved = np.asarray(forward(params, x, ones)[0]) != np.asarray(z)
    np.testing.assert_array_equal(moved, [True, True, False, True])
    np.testing.assert_allclose(jax.jit(bijector.inverse)(params, z, zeros)[0], x, rtol=1e-5, atol=1e-6)


def test_one_event_takes_the_batch_axes_of_contexts_that_only_the_rest_sees() -> None:
    rest = additive_coupling(MLP((1,)), np.array([True, False]), context_shape=(3,))
    bijector = split(rest, (4,), context_shape=(3,))
    params, x, contexts = drawn(bijector.init), normal_numbers(4), normal_numbers(5, 3)
    z, log_det = bijector.forward(params, x, contexts)
    assert (z.shape, log_det.shape) == ((5, 4), (5,))
    for k in range(5):
        np.testing.assert_allclose(z[k], bijector.forward(params, x, contexts[k])[0], rtol=1e-5, atol=1e-6)
    back, _ = bijector.inverse(params, z[0], contexts)
    assert back.shape == (5, 4)
    np.testing.assert_allclose(back[0], x, rtol=1e-5, atol=1e-6)
