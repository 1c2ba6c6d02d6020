"""What users do with flows and samplers: numbers as shapes, wrong events, infinite ones, calls without jit."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mathdnn_jax import Flow, chain, flow, gan, glow, mixture_cdf_flow, real_nvp, vae
from mathdnn_jax.bijectors import scaling
from mathdnn_jax.errors import ConfigurationError, EventShapeError
from mathdnn_jax.probability import (
    diagonal_gaussian_sample,
    gamblers_ruin,
    gaussian_sample,
    logistic,
    logistic_sample,
    normal,
    sine_sample,
)

from ...drawn import drawn
from .test_flow import FLOWS

KEY = jax.random.key(0)

IMAGES = real_nvp((2, 2, 1), scales=1, couplings=1, width=3, depth=1)
LABELLED = {
    "real_nvp": real_nvp((3,), couplings=2, width=3, depth=1, classes=2),
    "glow": glow((2, 2, 1), levels=1, steps=1, width=3, depth=1, classes=2),
}
MODEL = vae((3,), 2)


def event_shape(made: Flow) -> tuple[int, ...]:
    shape: tuple[int, ...] = jax.eval_shape(lambda: made.sample(made.init(KEY), KEY)).shape
    return shape


@functools.cache
def samplers() -> dict[str, tuple[Callable[..., Any], tuple[int, ...]]]:
    """Every function of the library with a batch shape, as a function of (key, shape), and the shape of one draw."""
    vector, params = jnp.zeros(2), drawn(MODEL.init)
    made: dict[str, tuple[Callable[..., Any], tuple[int, ...]]] = {
        name: (functools.partial(member.sample, drawn(member.init)), event_shape(member))
        for name, member in FLOWS.items()
    }
    return made | {
        "vae": (functools.partial(MODEL.sample, params), (3,)),
        "latents of the vae": (functools.partial(MODEL.sample_latent, params), (2,)),
        "latents of the gan": (gan((3,), 2).sample_latent, (2,)),
        "normal": (lambda key, shape: normal((2,)).sample(key, shape, np.float32), (2,)),
        "logistic": (lambda key, shape: logistic((2,)).sample(key, shape, np.float32), (2,)),
        "logistic_sample": (logistic_sample, ()),
        "gaussian_sample": (lambda key, shape: gaussian_sample(key, vector, jnp.eye(2), shape), (2,)),
        "diagonal": (lambda key, shape: diagonal_gaussian_sample(key, vector, vector, shape), (2,)),
        "sine_sample": (
            lambda key, shape: sine_sample(dict.fromkeys(("mean", "log_scale"), vector[0]), key, shape),
            (),
        ),
    }


@pytest.mark.parametrize("name", samplers())
def test_a_number_is_a_shape_of_one_axis(name: str) -> None:
    sample, event = samplers()[name]
    for shape, batch in ((4, (4,)), (np.int64(4), (4,)), ([2, 3], (2, 3)), ((), ()), (0, (0,))):
        assert jax.eval_shape(functools.partial(sample, shape=shape), KEY).shape == (*batch, *event)
    for wrong in (2.5, "ab", -1, (2, -1), None):
        with pytest.raises(ConfigurationError, match=r"the shape of a sample"):
            jax.eval_shape(functools.partial(sample, shape=wrong), KEY)


def test_a_shape_that_jit_traces_is_named() -> None:
    made = FLOWS["nice"]
    with pytest.raises(ConfigurationError, match="static_argnums"):
        jax.eval_shape(made.sample, drawn(made.init), KEY, 3)


@pytest.mark.parametrize(
    ("name", "given"), [("nice", (3, 5)), ("real_nvp", ()), ("glow", (3, 2, 2)), ("glow", (4, 4, 1))]
)
def test_an_event_of_another_shape_is_refused_in_the_name_of_the_flow(name: str, given: tuple[int, ...]) -> None:
    made = FLOWS[name]
    expected = event_shape(made)
    with pytest.raises(EventShapeError) as refused:
        jax.eval_shape(made.log_prob, drawn(made.init), jax.ShapeDtypeStruct(given, np.float32))
    assert str(refused.value).startswith(f"{name} acts on events of shape {expected}, given an array of shape {given}")


def test_a_flow_without_a_name_says_which_part_refuses() -> None:
    made = flow(chain(only=scaling(3)), normal((3,)))
    with pytest.raises(EventShapeError, match=r"the flow cannot take x of shape \(2,\): scaling acts on .* \(3,\)"):
        made.log_prob(drawn(made.init), jnp.zeros(2))
    named = flow(chain(only=scaling(3)), normal((3,)), name="mine", event_shape=(3,))
    with pytest.raises(EventShapeError, match=r"mine acts on events of shape \(3,\)"):
        named.log_prob(drawn(named.init), jnp.zeros(2))


@pytest.mark.parametrize("name", [*FLOWS, "images"])
def test_an_event_with_an_infinite_entry_has_density_zero(name: str) -> None:
    made = IMAGES if name == "images" else FLOWS[name]
    params, shape = drawn(made.init, scale=0.3), event_shape(made)
    x = np.full((5, *shape), 0.25, np.float32)
    flat = x.reshape(5, -1)
    flat[1, 0], flat[2, -1], flat[3, 0] = np.inf, -np.inf, np.nan
    flat[3, -1] = np.nan if flat.shape[1] == 1 else np.inf

    @jax.jit
    def of(params: Any, x: jax.Array) -> tuple[jax.Array, Any]:
        def total(params: Any, x: jax.Array) -> tuple[jax.Array, jax.Array]:
            log_p = made.log_prob(params, x)
            return jnp.where(jnp.isfinite(log_p), log_p, 0).sum(), log_p

        gradient, log_p = jax.grad(total, argnums=(0, 1), has_aux=True)(params, x)
        return log_p, gradient

    log_p, (by_params, by_x) = of(params, x[:3])
    assert log_p[1] == log_p[2] == -np.inf
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((by_params, by_x)))
    assert not np.asarray(by_x[1:]).any()
    # The other events are what they are alone, derivatives included.
    alone, (by_alone, _) = of(params, np.stack([x[0]] * 3))
    assert log_p[0] == alone[0]
    for ours, three in zip(jax.tree.leaves(by_params), jax.tree.leaves(by_alone), strict=True):
        np.testing.assert_allclose(3 * ours, three, rtol=1e-5, atol=1e-6)
    assert np.isnan(of(params, np.stack([x[3], x[4], x[4]]))[0]).tolist() == [True, False, False]


@pytest.fixture
def compilations() -> Iterator[Callable[[Callable[[], Any]], int]]:
    """Count the programs that a function compiles."""
    messages: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: messages.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("jax")
    logger.addHandler(handler)

    def count(function: Callable[[], Any]) -> int:
        messages.clear()
        with jax.log_compiles():
            function()
        return sum("Finished XLA compilation" in message for message in messages)

    yield count
    logger.removeHandler(handler)


def eager(name: str) -> Callable[[], Any]:
    """A call without jit, as in a notebook."""
    if name == "importance-weighted bound":
        params = drawn(MODEL.init)
        return lambda: MODEL.log_marginal(params, jnp.zeros((2, 3)), KEY, samples=3)
    if name == "gambler's ruin":
        return lambda: gamblers_ruin(KEY, 50, max_plays=150)
    if name in FLOWS:
        made, params = FLOWS[name], drawn(FLOWS[name].init, scale=0.1)
        return lambda: made.log_prob(params, made.sample_and_log_prob(params, KEY, 2)[0])
    sample, _ = samplers()[name]
    return lambda: sample(KEY, (2,))


LOOPS = ("mixture_cdf_flow", "normalised mixture_cdf_flow", "importance-weighted bound", "gambler's ruin")
"""Those that run loops, which JAX compiles even without jit."""


@pytest.mark.parametrize(
    "name", [*LOOPS, *(pytest.param(name, marks=pytest.mark.long) for name in sorted(set(samplers()) - set(LOOPS)))]
)
def test_a_second_call_compiles_nothing(name: str, compilations: Callable[[Callable[[], Any]], int]) -> None:
    assert compilations(lambda: jax.jit(lambda x: x + 1)(jnp.zeros(()))) > 0
    call = eager(name)
    call()
    assert compilations(call) == 0


@pytest.mark.parametrize("name", LABELLED)
def test_one_event_serves_many_labels_and_one_label_many_events(name: str) -> None:
    made = LABELLED[name]
    params, shape = drawn(made.init, scale=0.5), event_shape_given_a_label(made)
    x = np.random.default_rng(0).uniform(0.2, 0.8, (3, *shape)).astype(np.float32)
    labels = np.array([0, 1], np.int32)
    log_prob = jax.jit(made.log_prob)
    table = log_prob(params, x[:, None], labels)
    assert table.shape == (3, 2)
    assert (table[:, 0] != table[:, 1]).all()
    np.testing.assert_allclose(log_prob(params, x[0], labels), table[0], rtol=1e-5)
    np.testing.assert_allclose(log_prob(params, x, labels[1]), table[:, 1], rtol=1e-5)
    assert jax.eval_shape(lambda: made.sample(params, KEY, (), labels)).shape == (2, *shape)


def event_shape_given_a_label(made: Flow) -> tuple[int, ...]:
    shape: tuple[int, ...] = jax.eval_shape(lambda: made.sample(made.init(KEY), KEY, (), jnp.int32(0))).shape
    return shape


@pytest.mark.parametrize("normalised", [pytest.param(False, marks=pytest.mark.long), True])
def test_the_mixture_flow_in_half_precision_is_rounded_float32(normalised: bool) -> None:
    made = mixture_cdf_flow(3, normalised)
    half = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), drawn(made.init))
    wide = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), half)
    x, exact = made.sample(half, KEY, 50), made.sample(wide, KEY, 50)
    assert x.dtype == jnp.bfloat16
    np.testing.assert_array_equal(x, exact.astype(jnp.bfloat16))
    found, expected = made.log_prob(half, x), made.log_prob(wide, x.astype(jnp.float32))
    assert found.dtype == jnp.bfloat16
    np.testing.assert_array_equal(found, expected.astype(jnp.bfloat16))
    z, log_det = made.forward(half, x)
    back, _ = made.inverse(half, jnp.clip(z, -0.1, 0.1))
    assert z.dtype == log_det.dtype == back.dtype == jnp.bfloat16
    assert np.isfinite(back.astype(jnp.float32)).all()
