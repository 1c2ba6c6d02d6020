"""Properties of every map in the table, checked against its full Jacobian in float64."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mathdnn_jax import Bijector
from mathdnn_jax.bijectors import Params
from mathdnn_jax.errors import EventShapeError
from mathdnn_jax.testing import check_bijector

from .case import Case, rows
from .constructors import BIJECTORS

cases = pytest.mark.parametrize("case", BIJECTORS.values(), ids=BIJECTORS.keys())

checked = pytest.mark.parametrize("case", rows(BIJECTORS))

KEY = jax.random.key(0)


@functools.cache
def parameter_shapes(bijector: Bijector) -> Any:
    return jax.eval_shape(bijector.init, KEY)


def random_params(bijector: Bijector, seed: int, scale: float = 1.0, dtype: type = np.float64) -> Params:
    """Random parameters, since scalings are initialised as the identity; weights have variance scale²/fan_in."""
    rng = np.random.default_rng(seed)

    def draw(shape: tuple[int, ...]) -> jax.Array:
        fan_in = shape[0] if len(shape) > 1 else 1
        return jnp.asarray(scale * rng.normal(size=shape) / np.sqrt(fan_in), dtype)

    return jax.tree.map(lambda leaf: draw(leaf.shape), parameter_shapes(bijector))


def random_events(case: Case, seed: int, batch: tuple[int, ...] = (), dtype: type = np.float64) -> jax.Array:
    rng = np.random.default_rng(seed + 1)
    shape = (*batch, *case.event_shape)
    values = rng.normal(size=shape) if case.support is None else rng.uniform(*case.support, shape)
    return jnp.asarray(values, dtype)


@functools.cache
def shapes_of(case: Case, direction: str, batch: tuple[int, ...]) -> Any:
    """Shapes and dtypes of value and log_det in float32; nothing is compiled, since the checker compiles enough."""
    shape = case.event_shape if direction == "forward" else case.z_shape
    event = jax.ShapeDtypeStruct((*batch, *shape), np.float32)
    context = None if case.context_shape is None else jax.ShapeDtypeStruct((*batch, *case.context_shape), np.float32)
    return jax.eval_shape(getattr(case.bijector, direction), parameter_shapes(case.bijector), event, context)


def random_context(case: Case, seed: int, batch: tuple[int, ...] = (), dtype: type = np.float64) -> jax.Array | None:
    if case.context_shape is None:
        return None
    return jnp.asarray(np.random.default_rng(seed + 2).normal(size=(*batch, *case.context_shape)), dtype)


@checked
def test_it_passes_the_checker(case: Case) -> None:
    """Check log-dets, inverses, batches, vmap, jit, gradients and float32 at points that hypothesis draws."""
    with jax.numpy_dtype_promotion("strict"):
        check_bijector(
            case.bijector.forward,
            case.bijector.inverse,
            event_shape=case.event_shape,
            latent_shape=case.z_shape,
            params=random_params(case.bijector, 0, case.parameter_scale, np.float32),
            context=None if case.context_shape is None else jnp.zeros(case.context_shape),
            support=case.support,
        )


@cases
@pytest.mark.parametrize("batch", [(2, 3), (0,)])
def test_leading_axes_are_batch_axes(case: Case, batch: tuple[int, ...]) -> None:
    z, log_det = shapes_of(case, "forward", batch)
    assert z.shape == (*batch, *case.z_shape)
    assert log_det.shape == batch
    back, inverse_log_det = shapes_of(case, "inverse", batch)
    assert back.shape == (*batch, *case.event_shape)
    assert inverse_log_det.shape == batch


@pytest.mark.parametrize("name", [name for name, case in BIJECTORS.items() if case.context_shape])
def test_one_event_takes_the_batch_axes_of_its_contexts(name: str) -> None:
    case = BIJECTORS[name]
    assert case.context_shape is not None
    contexts = jax.ShapeDtypeStruct((4, *case.context_shape), np.float32)
    for direction, shape, other in (
        ("forward", case.event_shape, case.z_shape),
        ("inverse", case.z_shape, case.event_shape),
    ):
        for batch, common in (((), (4,)), ((3, 1), (3, 4))):
            event = jax.ShapeDtypeStruct((*batch, *shape), np.float32)
            function = getattr(case.bijector, direction)
            value, log_det = jax.eval_shape(function, parameter_shapes(case.bijector), event, contexts)
            assert (value.shape, log_det.shape) == ((*common, *other), common)


@checked
def test_gradients_are_those_of_central_differences(case: Case) -> None:
    with jax.enable_x64(True):
        params, x = random_params(case.bijector, 2, case.parameter_scale), random_events(case, 2)
        context = random_context(case, 2)

        def loss(params: Params, x: jax.Array) -> jax.Array:
            z, log_det = case.bijector.forward(params, x, context)
            return jnp.sin(z).sum() + log_det

        @jax.jit
        def derivatives(point: Params, direction: Params) -> tuple[jax.Array, Params, jax.Array]:
            _, derivative = jax.jvp(loss, point, direction)
            steps = jnp.asarray([1e-6, -1e-6])
            ahead, behind = jax.vmap(lambda h: loss(*jax.tree.map(lambda p, d: p + h * d, point, direction)))(steps)
            return derivative, jax.grad(loss, (0, 1))(*point), (ahead - behind) / 2e-6

        directions = (random_params(case.bijector, 3), random_events(case, 3))
        derivative, gradient, difference = derivatives((params, x), directions)
        along = sum(jnp.vdot(g, d) for g, d in zip(jax.tree.leaves(gradient), jax.tree.leaves(directions), strict=True))
        np.testing.assert_allclose(along, derivative, rtol=1e-10)
        # Central differences with step h have errors of the order of h² f''' and ε f / h.
        np.testing.assert_allclose(derivative, difference, rtol=1e-7, atol=1e-7)


@cases
def test_float32_stays_float32(case: Case) -> None:
    for direction in ("forward", "inverse"):
        assert [value.dtype for value in shapes_of(case, direction, (2, 3))] == [np.float32, np.float32]
    assert all(leaf.dtype == np.float32 for leaf in jax.tree.leaves(parameter_shapes(case.bijector)))


@cases
def test_other_events_are_refused(case: Case) -> None:
    directions = (case.bijector.forward, case.event_shape), (case.bijector.inverse, case.z_shape)
    for function, shape in directions:
        if not shape:
            continue
        for other in ((*shape[:-1], shape[-1] + 1), ()):
            with pytest.raises(EventShapeError, match=r"acts on (events|images) of shape"):
                jax.eval_shape(function, parameter_shapes(case.bijector), jax.ShapeDtypeStruct(other, np.float32))
