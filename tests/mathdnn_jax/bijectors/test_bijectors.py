"""What holds of every map in the table, against its full Jacobian in float64."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from case import Case
from constructors import BIJECTORS
from hypothesis import given

from mathdnn_jax import Bijector
from mathdnn_jax.bijectors import Params
from mathdnn_jax.errors import EventShapeError

EPS = float(np.finfo(np.float64).eps)

cases = pytest.mark.parametrize("case", BIJECTORS.values(), ids=BIJECTORS.keys())
seeds = st.integers(0, 2**31 - 1)
scales = st.sampled_from([0.1, 1.0, 2.0])


def random_params(bijector: Bijector, seed: int, scale: float = 1.0, dtype: type = np.float64) -> Params:
    """Random parameters, since scalings start as the identity; weights have variance scale²/fan_in."""
    shapes = jax.eval_shape(bijector.init, jax.random.key(0))
    rng = np.random.default_rng(seed)

    def draw(shape: tuple[int, ...]) -> jax.Array:
        fan_in = shape[0] if len(shape) > 1 else 1
        return jnp.asarray(scale * rng.normal(size=shape) / np.sqrt(fan_in), dtype)

    return jax.tree.map(lambda leaf: draw(leaf.shape), shapes)


def random_events(case: Case, seed: int, batch: tuple[int, ...] = (), dtype: type = np.float64) -> jax.Array:
    rng = np.random.default_rng(seed + 1)
    shape = (*batch, *case.event_shape)
    values = rng.normal(size=shape) if case.support is None else rng.uniform(*case.support, shape)
    return jnp.asarray(values, dtype)


def random_context(case: Case, seed: int, batch: tuple[int, ...] = (), dtype: type = np.float64) -> jax.Array | None:
    if case.context_shape is None:
        return None
    return jnp.asarray(np.random.default_rng(seed + 2).normal(size=(*batch, *case.context_shape)), dtype)


class Compiled(NamedTuple):
    """Both directions of a map and the Jacobian of each for one event, compiled once; hypothesis calls them often."""

    forward: Callable[..., tuple[jax.Array, jax.Array]]
    inverse: Callable[..., tuple[jax.Array, jax.Array]]
    forward_jacobian: Callable[..., jax.Array]
    inverse_jacobian: Callable[..., jax.Array]


@functools.cache
def compiled(bijector: Bijector) -> Compiled:
    directions = bijector.forward, bijector.inverse
    jacobians = (jax.jacfwd(lambda x, params, context, f=f: f(params, x, context)[0]) for f in directions)
    return Compiled(*map(jax.jit, directions), *map(jax.jit, jacobians))


def matrix(jacobian: jax.Array, x: jax.Array) -> np.ndarray:
    """The full Jacobian of one event, both sides flattened."""
    return np.asarray(jacobian).reshape(x.size, x.size)


def condition(jacobian: np.ndarray) -> float:
    """How much an error, relative to the whole event, grows on the way back: of x through J, of z through J⁻¹ alone."""
    return max(float(np.linalg.cond(jacobian)), float(np.linalg.norm(np.linalg.inv(jacobian), 2)))


@cases
@given(seed=seeds, scale=scales)
def test_log_det_is_that_of_the_jacobian(case: Case, seed: int, scale: float) -> None:
    run = compiled(case.bijector)
    with jax.enable_x64(True):
        params, x = random_params(case.bijector, seed, scale * case.parameter_scale), random_events(case, seed)
        context = random_context(case, seed)
        z, log_det = run.forward(params, x, context)
        whole = matrix(run.forward_jacobian(x, params, context), x)
        assert log_det.shape == ()
        np.testing.assert_allclose(log_det, np.linalg.slogdet(whole)[1], rtol=0, atol=1e-10)

        back, inverse_log_det = run.inverse(params, z, context)
        inverse = matrix(run.inverse_jacobian(z, params, context), z)
        np.testing.assert_allclose(inverse_log_det, np.linalg.slogdet(inverse)[1], rtol=0, atol=1e-10)

        bound = 16 * EPS * (1 + np.abs(x).max() + np.abs(z).max()) * condition(whole)
        np.testing.assert_allclose(back, x, rtol=0, atol=bound)


@cases
@pytest.mark.parametrize("batch", [(), (1,), (3,), (2, 3), (0,)])
def test_leading_axes_are_batch_axes(case: Case, batch: tuple[int, ...]) -> None:
    with jax.enable_x64(True):
        params, x = random_params(case.bijector, 0, case.parameter_scale), random_events(case, 0, batch)
        context = random_context(case, 0, batch)
        z, log_det = case.bijector.forward(params, x, context)
        assert z.shape == (*batch, *case.z_shape)
        assert log_det.shape == batch
        back, inverse_log_det = case.bijector.inverse(params, z, context)
        assert back.shape == x.shape
        assert inverse_log_det.shape == batch
        if batch == (3,):
            mapped = (None, 0, None if context is None else 0)
            one_by_one = jax.vmap(case.bijector.forward, in_axes=mapped)(params, x, context)
            for whole, single in zip((z, log_det), one_by_one, strict=True):
                np.testing.assert_allclose(whole, single, rtol=64 * EPS, atol=64 * EPS)


@cases
def test_jit_changes_nothing(case: Case) -> None:
    with jax.enable_x64(True):
        params, x = random_params(case.bijector, 1, case.parameter_scale), random_events(case, 1, (4,))
        context = random_context(case, 1, (4,))
        z, _ = case.bijector.forward(params, x, context)
        run = compiled(case.bijector)
        contexts = [None] * 4 if context is None else list(context)
        # Solving for x, another order of the operations shows multiplied by the condition.
        growth = max(condition(matrix(run.forward_jacobian(x[k], params, contexts[k]), x[k])) for k in range(4))
        for function, jitted, event, bound in (
            (case.bijector.forward, run.forward, x, 64 * EPS),
            (case.bijector.inverse, run.inverse, z, 64 * EPS * growth),
        ):
            results = function(params, event, context), jitted(params, event, context)
            for plain, fused in zip(*results, strict=True):
                np.testing.assert_allclose(plain, fused, rtol=bound, atol=bound)


@cases
def test_gradients_are_those_of_central_differences(case: Case) -> None:
    with jax.enable_x64(True):
        params, x, context = (
            random_params(case.bijector, 2, case.parameter_scale),
            random_events(case, 2),
            random_context(case, 2),
        )

        def loss(params: Params, x: jax.Array) -> jax.Array:
            z, log_det = case.bijector.forward(params, x, context)
            return jnp.sin(z).sum() + log_det

        directions = (random_params(case.bijector, 3, case.parameter_scale), random_events(case, 3))
        _, derivative = jax.jvp(loss, (params, x), directions)
        step = 1e-6
        ahead = loss(*jax.tree.map(lambda p, d: p + step * d, (params, x), directions))
        behind = loss(*jax.tree.map(lambda p, d: p - step * d, (params, x), directions))
        gradient = jax.grad(loss, (0, 1))(params, x)
        along = sum(jnp.vdot(g, d) for g, d in zip(jax.tree.leaves(gradient), jax.tree.leaves(directions), strict=True))
        np.testing.assert_allclose(along, derivative, rtol=1e-10)
        # Central differences of step h are off by h² f''' and by ε f / h.
        np.testing.assert_allclose(derivative, (ahead - behind) / (2 * step), rtol=1e-7, atol=1e-7)


@cases
def test_float32_stays_float32(case: Case) -> None:
    params, x = (
        random_params(case.bijector, 4, case.parameter_scale, np.float32),
        random_events(case, 4, (2,), np.float32),
    )
    context = random_context(case, 4, (2,), np.float32)
    z, _ = case.bijector.forward(params, x, context)
    for function, event in ((case.bijector.forward, x), (case.bijector.inverse, z)):
        assert [value.dtype for value in function(params, event, context)] == [np.float32, np.float32]
    assert all(leaf.dtype == np.float32 for leaf in jax.tree.leaves(case.bijector.init(jax.random.key(0))))


@cases
def test_other_events_are_refused(case: Case) -> None:
    params = random_params(case.bijector, 5, case.parameter_scale, np.float32)
    directions = (case.bijector.forward, case.event_shape), (case.bijector.inverse, case.z_shape)
    for function, shape in directions:
        if not shape:
            continue
        with pytest.raises(EventShapeError, match=r"acts on (events|images) of shape"):
            function(params, jnp.zeros((*shape[:-1], shape[-1] + 1)))
        with pytest.raises(EventShapeError, match=r"acts on (events|images) of shape"):
            function(params, jnp.zeros(()))
