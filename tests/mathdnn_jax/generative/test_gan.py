from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mathdnn_jax import (
    GAN,
    Dense,
    Sequential,
    dcgan_discriminator,
    dcgan_generator,
    dense_discriminator,
    dense_generator,
    gan,
    gan_training,
)
from mathdnn_jax.errors import ConfigurationError

DENSE = gan((6,), 3, generator=dense_generator(6, (5,), batch_norm=False), discriminator=dense_discriminator((5,)))
DCGAN = gan((28, 28, 1), 8, generator=dcgan_generator(width=2), discriminator=dcgan_discriminator(2))


def logits_of(model: GAN, params: Any, state: Any, x: jax.Array, z: jax.Array) -> tuple[np.ndarray, np.ndarray]:
    """D's logits in float64, on data and on what G makes."""
    made = model.generate(params, state, z)
    return tuple(np.asarray(model.discriminate(params, state, part), np.float64) for part in (x, made))  # type: ignore[return-value]


@given(weight=st.sampled_from([1e-3, 0.5, 1.0, 1e3]), seed=st.integers(0, 100), sharpness=st.sampled_from([1.0, 300.0]))
def test_losses_are_the_weighted_objective(weight: float, seed: int, sharpness: float) -> None:
    model = DENSE._replace()
    params, state = model.init(jax.random.key(seed))
    last = params["discriminator"]["dense_1"]
    params["discriminator"]["dense_1"] = jax.tree.map(lambda leaf: sharpness * leaf, last)
    x, z = jax.random.normal(jax.random.key(1), (40, 6)), jax.random.normal(jax.random.key(2), (40, 3))
    real, fake = logits_of(model, params, state, x, z)
    networks: dict[str, Any] = {
        "generator": dense_generator(6, (5,), batch_norm=False),
        "discriminator": dense_discriminator((5,)),
    }
    for saturating in (True, False):
        weighted = gan((6,), 3, **networks, weight=weight, saturating=saturating)
        # log D = −log(1 + e^−ℓ), log(1 − D) = −log(1 + e^ℓ), by logaddexp.
        objective = -np.logaddexp(0, -real).mean() - weight * np.logaddexp(0, fake).mean()
        found = weighted.discriminator_loss(params, state, x, z)[0]
        np.testing.assert_allclose(found, -objective, rtol=1e-5)
        generator = -np.logaddexp(0, fake).mean() if saturating else np.logaddexp(0, -fake).mean()
        loss = weighted.generator_loss(params, state, z)[0]
        np.testing.assert_allclose(loss, weight * generator, rtol=1e-4, atol=1e-6)


def test_the_non_saturating_loss_has_a_gradient_where_the_other_has_none() -> None:
    norms = []
    for saturating in (True, False):
        model = gan(
            (6,),
            3,
            generator=dense_generator(6, (5,), batch_norm=False),
            discriminator=dense_discriminator((5,)),
            saturating=saturating,
        )
        params, state = model.init(jax.random.key(0))
        params["discriminator"]["dense_1"]["bias"] = jnp.array([-50.0])  # D is sure that everything is made
        gradient = jax.grad(lambda p, m=model, s=state: m.generator_loss(p, s, jnp.ones((4, 3)))[0])(params)
        norms.append(float(optax.tree.norm(gradient["generator"])))
    assert norms[0] < 1e-12
    assert norms[1] > 1e-4


def test_the_discriminators_loss_moves_the_discriminator_alone() -> None:
    params, state = DENSE.init(jax.random.key(0))
    gradient = jax.grad(lambda p: DENSE.discriminator_loss(p, state, jnp.ones((4, 6)), jnp.ones((4, 3)))[0])(params)
    assert float(optax.tree.norm(gradient["generator"])) == 0
    assert float(optax.tree.norm(gradient["discriminator"])) > 0


@pytest.mark.parametrize(("weight", "seed"), [(0.3, 0), (1.0, 1), (5.0, 2)])
def test_the_best_discriminator_is_p_over_p_plus_weighted_q(weight: float, seed: int) -> None:
    """On a few points D can be any function: the loss, minimised, gives D = p/(p + λ q) for the frequencies p and q."""
    points, rng = 4, np.random.default_rng(seed)
    p, q = rng.integers(1, 6, points), rng.integers(1, 6, points)
    q = np.concatenate([q, [p.sum()]])[:points]
    identity = Sequential(dense_0=Dense(points, bias=False))
    model = gan((points,), points, generator=identity, discriminator=dense_discriminator(()), weight=weight)
    params, state = model.init(jax.random.key(0))
    eye = jnp.eye(points, dtype=jnp.float32)
    params["generator"] = {"dense_0": {"kernel": eye}}
    x, z = jnp.repeat(eye, p, axis=0), jnp.repeat(eye, q, axis=0)

    def loss(kernel: jax.Array) -> jax.Array:
        judge = {"dense_0": {"kernel": kernel[:, None], "bias": jnp.zeros(1)}}
        return model.discriminator_loss({**params, "discriminator": judge}, state, x, z)[0]

    @jax.jit
    def newton(kernel: jax.Array) -> jax.Array:  # the loss is convex, and the points do not interact
        moved: jax.Array = kernel - jax.grad(loss)(kernel) / jnp.diagonal(jax.hessian(loss)(kernel))
        return moved

    kernel = jnp.zeros(points)
    for _ in range(60):
        kernel = newton(kernel)
    p_density, q_density = p / p.sum(), q / q.sum()
    np.testing.assert_allclose(jax.nn.sigmoid(kernel), p_density / (p_density + weight * q_density), rtol=1e-4)


@pytest.mark.parametrize("model", [DENSE, DCGAN])
def test_shapes_with_any_batch_axes(model: GAN) -> None:
    def made(key: jax.Array, batch: tuple[int, ...]) -> Any:
        params, state = model.init(key)
        x = model.generate(params, state, model.sample_latent(key, batch))
        return params, state["generator"].get("batch_stats", {}), x, model.discriminate(params, state, x)

    for batch in ((), (3,), (2, 3)):
        params, statistics, x, logits = jax.eval_shape(lambda key, batch=batch: made(key, batch), jax.random.key(0))
        assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {np.dtype(np.float32)}
        counts = {leaf.shape for leaf in jax.tree.leaves(statistics) if leaf.dtype == np.int32}
        assert counts <= {()}
        assert x.shape == (*batch, *model.event_shape)
        assert logits.shape == batch
    assert np.abs(jax.jit(lambda key: made(key, (3,))[2])(jax.random.key(1))).max() <= 1


def test_batch_norms_learn_their_statistics_in_training_and_keep_them_otherwise() -> None:
    params, state = DCGAN.init(jax.random.key(0))
    x, z = jax.random.normal(jax.random.key(1), (5, 28, 28, 1)), DCGAN.sample_latent(jax.random.key(2), (5,))
    _, after_discriminator = DCGAN.discriminator_loss(params, state, x, z)
    _, after_generator = DCGAN.generator_loss(params, state, z)
    for after in (after_discriminator, after_generator):
        moved = jax.tree.map(lambda a, b: not np.array_equal(a, b), after["generator"], state["generator"])
        assert all(jax.tree.leaves(moved))
    # The discriminator meets two batches, data and made, and its statistics move for each.
    statistics = [DCGAN.discriminator_loss(params, state, batch, z)[1]["discriminator"] for batch in (x, 2 * x)]
    gap = jax.tree.map(lambda a, b: np.abs(a - b).max(), *statistics)["batch_stats"]["disc_1_1"]
    assert gap["mean"] > 1e-6
    assert gap["var"] > 1e-6
    eval_image = DCGAN.generate(params, after_generator, z)
    np.testing.assert_array_equal(eval_image[:2], DCGAN.generate(params, after_generator, z[:2]))


def test_a_step_is_two_optimisers_in_turn() -> None:
    def optimizer(rate: float) -> optax.GradientTransformation:
        return optax.sgd(rate)

    training = gan_training(DENSE, optimizer(0.1), optimizer(0.2))
    start = training.init(jax.random.key(0))
    key, x = jax.random.key(3), jax.random.normal(jax.random.key(1), (4, 6))
    after, losses = jax.jit(training.step)(start, key, x)
    noise, more = (DENSE.sample_latent(part, (4,)) for part in jax.random.split(key))
    loss, gradient = jax.value_and_grad(lambda p: DENSE.discriminator_loss(p, start.state, x, noise)[0])(start.params)
    params = dict(start.params)
    params["discriminator"] = jax.tree.map(lambda p, g: p - 0.2 * g, params["discriminator"], gradient["discriminator"])
    other, gradient = jax.value_and_grad(lambda p: DENSE.generator_loss(p, start.state, more)[0])(params)
    params["generator"] = jax.tree.map(lambda p, g: p - 0.1 * g, params["generator"], gradient["generator"])
    np.testing.assert_allclose(losses, (other, loss), rtol=1e-5)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), after.params, params)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"weight": 0.0}, "given 0.0"),
        ({"weight": float("inf")}, "given inf"),
        ({"weight": float("nan")}, "given nan"),
        ({"latent_dim": 0}, "latent_dim=0"),
        ({"generator": dense_generator(5)}, "the generator must return 6"),
        ({"discriminator": Sequential(dense=Dense(2))}, "the discriminator must return 1"),
    ],
)
def test_impossible_models_are_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        gan(**{"event_shape": (6,), "latent_dim": 2, **settings})


def test_a_generator_ends_in_what_is_asked_for() -> None:
    z = jax.random.normal(jax.random.key(0), (5, 3))
    for output, low, high in (("sigmoid", 0, 1), ("tanh", -1, 1), ("none", -np.inf, np.inf)):
        model = gan((6,), 3, generator=dense_generator(6, (5,), output))
        params, state = model.init(jax.random.key(0))
        params["generator"]["dense_1"]["kernel"] *= 100
        x = model.generate(params, state, z)
        assert low <= x.min() < x.max() <= high
        assert (x.min() < 0) == (low < 0)
    with pytest.raises(ConfigurationError, match="'relu'"):
        dcgan_generator(output="relu")
