"""RealNVP and Glow: what holds of both."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mathdnn_jax import Flow, glow, real_nvp
from mathdnn_jax.errors import ConfigurationError

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


def moved(flow: Flow, scale: float = 0.05) -> Any:
    """Parameters away from their first values, at which a flow's networks return zero."""
    leaves, structure = jax.tree.flatten(flow.init(jax.random.key(0)))
    keys = jax.random.split(jax.random.key(1), len(leaves))
    return jax.tree.unflatten(
        structure, [leaf + scale * jax.random.normal(k, leaf.shape) for leaf, k in zip(leaves, keys, strict=True)]
    )


def doubled(params: Any) -> Any:
    """The same numbers in float64."""
    return jax.tree.map(lambda leaf: leaf.astype(jnp.float64), params)


def images(*batch: int) -> jax.Array:
    return jax.random.uniform(jax.random.key(2), (*batch, *SHAPE), minval=0.02, maxval=0.98)


@flows
def test_a_sample_and_its_log_density_belong_together(build: Callable[..., Flow]) -> None:
    flow = build()
    single = moved(flow)
    with jax.enable_x64(True):
        params = doubled(single)
        x, log_p = jax.jit(flow.sample_and_log_prob, static_argnums=2)(params, jax.random.key(3), (5,))
        assert x.shape == (5, *SHAPE)
        # The image of the inverse logit, with α = 0.05.
        assert ((x > -0.05 / 0.9) & (x < 1 + 0.05 / 0.9)).all()
        # At the edges of the logit's domain a rounding of x moves z by 1e-16 times the slope there.
        np.testing.assert_allclose(log_p, jax.jit(flow.log_prob)(params, x), rtol=1e-7)


@flows
def test_temperature_scales_the_latent(build: Callable[..., Flow]) -> None:
    flow = build()
    single = moved(flow)
    with jax.enable_x64(True):
        params = doubled(single)

        def latent(temperature: float) -> jax.Array:
            x = flow.sample(params, jax.random.key(3), (3,), temperature=temperature)
            return flow.forward(params, x)[0]

        z, halved, frozen = jax.jit(jax.vmap(latent))(jnp.array([1.0, 0.5, 0.0]))
        np.testing.assert_allclose(halved, 0.5 * z, rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(frozen, 0 * z, atol=1e-9)


@flows
def test_classes_condition_the_density(build: Callable[..., Flow]) -> None:
    flow = build(classes=3)
    params, x = moved(flow), images(3)
    same = jnp.broadcast_to(x[0], x.shape)
    log_p = flow.log_prob(params, same, jnp.arange(3))
    assert len(np.unique(np.round(np.asarray(log_p), 3))) == 3
    assert flow.sample(params, jax.random.key(4), (3,), jnp.arange(3)).shape == (3, *SHAPE)
    with pytest.raises(ConfigurationError, match="label"):
        flow.log_prob(params, x)


@flows
def test_a_logistic_prior(build: Callable[..., Flow]) -> None:
    normal, logistic = build(), build(prior="logistic")
    params, x = moved(normal), images(2)
    z, log_det = normal.forward(params, x)
    expected = jnp.sum(jax.nn.log_sigmoid(z) + jax.nn.log_sigmoid(-z), -1) + log_det
    np.testing.assert_allclose(logistic.log_prob(params, x), expected, rtol=1e-5, atol=1e-4)


def test_glow_is_first_set_from_data() -> None:
    flow = glow(SHAPE, levels=1, steps=1, width=4)
    x = images(200)
    params = flow.init_from_data(flow.init(jax.random.key(0)), x)
    parts = dict(flow.bijector.parts)
    image, _ = parts["logit"].forward({}, x)
    level = dict(parts["level_0"].parts)
    squeezed, _ = level["squeeze"].forward({}, image)
    step = dict(level["step_0"].parts)
    normalised, _ = step["actnorm"].forward(params["level_0"]["step_0"]["actnorm"], squeezed)
    np.testing.assert_allclose(normalised.mean((0, 1, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(normalised.std((0, 1, 2)), 1, rtol=1e-4)


def test_vectors_have_a_real_nvp_of_perceptrons() -> None:
    flow = real_nvp((5,), couplings=3, width=4)
    params, x = moved(flow), jax.random.normal(jax.random.key(2), (7, 5))
    assert list(params) == ["coupling_0", "coupling_1", "coupling_2"]
    back, _ = flow.inverse(params, flow.forward(params, x)[0])
    np.testing.assert_allclose(back, x, rtol=1e-4, atol=1e-4)
    assert real_nvp((5,), classes=2).log_prob(
        real_nvp((5,), classes=2).init(jax.random.key(0)), x, jnp.arange(7) % 2
    ).shape == (7,)


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
def test_what_describes_no_flow_is_refused(build: Callable[[], Flow], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        build()
