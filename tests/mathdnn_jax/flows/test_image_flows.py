"""Properties that RealNVP and Glow share."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mathdnn_jax import Flow, glow, real_nvp
from mathdnn_jax.errors import ConfigurationError

from ...drawn import drawn, normal

SHAPE = (4, 4, 1)
FLOWS: dict[str, Callable[..., Flow]] = {
    "real_nvp": lambda **options: real_nvp(SHAPE, couplings=2, width=6, **options),
    "glow": lambda **options: glow(SHAPE, steps=2, width=6, **options),
    "glow of conditional PLU couplings": lambda **options: glow(
        SHAPE, steps=2, width=6, mixing="conditional_plu", **options
    ),
}
flows = pytest.mark.parametrize(
    "build",
    [
        pytest.param(build, marks=pytest.mark.long if "conditional" in name else (), id=name)
        for name, build in FLOWS.items()
    ],
)


def moved(flow: Flow, dtype: type = np.float32) -> Any:
    """Parameters away from their initial values, at which the networks return zero; diagonals stay near 1."""

    def near_one(path: tuple[Any, ...], leaf: jax.Array) -> np.ndarray:
        return np.asarray(np.asarray(leaf) + dtype(path[-1].key == "diagonal"))

    return jax.tree_util.tree_map_with_path(near_one, drawn(flow.init, scale=0.3, dtype=dtype))


def images(*batch: int) -> np.ndarray:
    return np.random.default_rng(2).uniform(0.02, 0.98, (*batch, *SHAPE)).astype(np.float32)


@flows
def test_a_sample_and_its_log_density_belong_together(build: Callable[..., Flow]) -> None:
    flow = build()
    with jax.enable_x64(True):
        params = moved(flow, np.float64)
        x, log_p = jax.jit(flow.sample_and_log_prob, static_argnums=2)(params, jax.random.key(3), (5,))
        assert x.shape == (5, *SHAPE)
        # The image of the inverse logit, with α = 0.05.
        assert ((x > -0.05 / 0.9) & (x < 1 + 0.05 / 0.9)).all()
        # At the edges of the logit's domain, rounding x moves z by 1e-16 times the slope there.
        np.testing.assert_allclose(log_p, jax.jit(flow.log_prob)(params, x), rtol=1e-7)


@flows
def test_temperature_scales_the_latent(build: Callable[..., Flow]) -> None:
    flow = build()
    with jax.enable_x64(True):
        params = moved(flow, np.float64)

        def latent(temperature: float) -> jax.Array:
            x = flow.sample(params, jax.random.key(3), (3,), temperature=temperature)
            return flow.forward(params, x)[0]

        z, halved, frozen = jax.jit(jax.vmap(latent))(jnp.array([1.0, 0.5, 0.0]))
        np.testing.assert_allclose(halved, 0.5 * np.asarray(z), rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(frozen, 0 * np.asarray(z), atol=1e-9)


@flows
def test_classes_condition_the_density(build: Callable[..., Flow]) -> None:
    flow = build(classes=3)
    params, labels = moved(flow), np.arange(3, dtype=np.int32)
    same = np.broadcast_to(images(), (3, *SHAPE))
    log_p = jax.jit(flow.log_prob)(params, same, labels)
    assert len(np.unique(np.round(np.asarray(log_p), 3))) == 3
    sample = functools.partial(flow.sample, shape=(3,), context=labels)
    assert jax.eval_shape(sample, params, jax.random.key(4)).shape == (3, *SHAPE)
    with pytest.raises(ConfigurationError, match="label"):
        jax.eval_shape(flow.log_prob, params, same)


@flows
def test_a_logistic_prior(build: Callable[..., Flow]) -> None:
    normal, logistic = build(), build(prior="logistic")
    both = jax.jit(lambda params, x: (normal.forward(params, x), logistic.log_prob(params, x)))
    (z, log_det), log_p = jax.tree.map(np.asarray, both(moved(normal), images(2)))
    expected = log_det - (np.logaddexp(0, z) + np.logaddexp(0, -z)).sum(-1)
    np.testing.assert_allclose(log_p, expected, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("build", [glow, real_nvp])
def test_images_need_not_be_square(build: Callable[..., Flow]) -> None:
    flow = build((4, 8, 1), width=3, depth=1)
    x = np.random.default_rng(4).uniform(0.02, 0.98, (2, 4, 8, 1)).astype(np.float32)
    params = drawn(flow.init, scale=0.1)
    z = jax.eval_shape(flow.forward, params, x)[0]
    assert z.shape == (2, 32)
    assert jax.eval_shape(flow.inverse, params, z)[0].shape == x.shape


def test_glow_is_first_set_from_data() -> None:
    flow = glow(SHAPE, levels=1, steps=1, width=4)
    parts = dict(flow.bijector.parts)
    level = dict(parts["level_0"].parts)
    step = dict(level["step_0"].parts)

    @jax.jit
    def first_step(params: Any, x: jax.Array) -> jax.Array:
        params = flow.init_from_data(params, x)
        image, _ = parts["logit"].forward({}, x)
        squeezed, _ = level["squeeze"].forward({}, image)
        return step["actnorm"].forward(params["level_0"]["step_0"]["actnorm"], squeezed)[0]

    normalised = np.asarray(first_step(moved(flow), images(200)))
    np.testing.assert_allclose(normalised.mean((0, 1, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(normalised.std((0, 1, 2)), 1, rtol=1e-4)


def test_the_checkerboards_of_a_scale_take_turns_and_its_last_one_is_another() -> None:
    flow = real_nvp((2, 2, 1), scales=1, couplings=2, width=3)
    scale, params, x = dict(flow.bijector.parts)["scale_0"], drawn(flow.init)["scale_0"], normal(3, 2, 2, 1)
    boards = [(name, part) for name, part in scale.parts if name.startswith("checkerboard")]
    assert len(boards) == 3
    kept = [(np.asarray(jax.jit(part.forward)(params[name], x)[0]) == x).all(0)[..., 0] for name, part in boards]
    for board in kept:
        assert board[0, 0] == board[1, 1] != board[0, 1] == board[1, 0]
    assert [board[0, 0] for board in kept] == [kept[0][0, 0], not kept[0][0, 0], kept[0][0, 0]]


def test_vectors_have_a_real_nvp_of_perceptrons() -> None:
    flow = real_nvp((5,), couplings=3, width=4)
    params, x = moved(flow), normal(7, 5)
    assert list(params) == ["coupling_0", "coupling_1", "coupling_2"]
    back, _ = jax.jit(flow.inverse)(params, jax.jit(flow.forward)(params, x)[0])
    np.testing.assert_allclose(back, x, rtol=1e-4, atol=1e-4)
    for k, (name, part) in enumerate(flow.bijector.parts):
        kept = (np.asarray(jax.jit(part.forward)(params[name], x)[0]) == x).all(0)
        np.testing.assert_array_equal(kept, np.arange(5) % 2 == (k + 1) % 2)
    of_classes = real_nvp((5,), classes=2)
    labels = np.arange(7, dtype=np.int32) % 2
    assert jax.eval_shape(of_classes.log_prob, drawn(of_classes.init), x, labels).shape == (7,)


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: real_nvp((27, 28, 1)), r"multiples of 2; given events of shape \(27, 28, 1\)"),
        (lambda: real_nvp((28, 28, 1), scales=4), "multiples of 8"),
        (lambda: real_nvp((2, 2, 1), scales=2), "more than one pixel"),
        (lambda: real_nvp((4, 4)), r"images \(H, W, C\)"),
        (lambda: real_nvp((1,)), "at least 2 entries"),
        (lambda: real_nvp(SHAPE, couplings=0), "couplings=0"),
        (lambda: real_nvp(SHAPE, prior="uniform"), "'uniform'"),
        (lambda: real_nvp(SHAPE, classes=1), "classes=1"),
        (lambda: real_nvp(SHAPE, alpha=0.5), "0.5"),
        (lambda: glow((28, 28, 1), levels=3), "multiples of 8"),
        (lambda: glow(SHAPE, steps=0), "steps=0"),
        (lambda: glow(SHAPE, mixing="qr"), "'qr'"),  # type: ignore[arg-type]
        (lambda: glow(SHAPE, log_scale_bound=-1.0), "-1.0"),
    ],
)
def test_impossible_flows_are_refused(build: Callable[[], Flow], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        build()
