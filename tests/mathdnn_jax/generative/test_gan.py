from __future__ import annotations

import functools
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy import special

from mathdnn_jax import Sequential, gan
from mathdnn_jax.errors import ConfigurationError
from mathdnn_jax.generative import (
    GAN,
    dcgan_discriminator,
    dcgan_generator,
    dense_discriminator,
    dense_generator,
    gan_training,
)
from mathdnn_jax.nets import BatchNorm, Dense

from ...drawn import drawn, normal

DENSE = gan((6,), 3, generator=dense_generator(6, (5,), batch_norm=False), discriminator=dense_discriminator((5,)))
DCGAN = gan((28, 28, 1), 8, generator=dcgan_generator(width=2), discriminator=dcgan_discriminator(2))


def drawn_model(model: GAN, seed: int = 0) -> tuple[Any, Any]:
    """Parameters, and the state of batch norms before their first batch; nothing is compiled."""
    params, state = drawn(model.init, seed=seed)

    def fresh(path: tuple[Any, ...], leaf: jax.Array) -> np.ndarray:
        return np.full(leaf.shape, path[-1].key == "var", leaf.dtype)

    return params, jax.tree_util.tree_map_with_path(fresh, state)


@functools.cache
def losses(weight: float) -> Any:
    """D's logits on data and on generated images, and both losses of the saturating and the non-saturating GAN."""
    networks: dict[str, Any] = {
        "generator": dense_generator(6, (5,), batch_norm=False),
        "discriminator": dense_discriminator((5,)),
    }
    models = [gan((6,), 3, **networks, weight=weight, saturating=saturating) for saturating in (True, False)]

    @jax.jit
    def found(params: Any, state: Any, x: jax.Array, z: jax.Array) -> Any:
        logits = [DENSE.discriminate(params, state, part) for part in (x, DENSE.generate(params, state, z))]
        both = [
            (model.discriminator_loss(params, state, x, z)[0], model.generator_loss(params, state, z)[0])
            for model in models
        ]
        return logits, both

    return found


@pytest.mark.parametrize("sharpness", [1.0, 300.0])
@pytest.mark.parametrize("weight", [1e-3, 0.5, 1.0, 1e3])
def test_losses_are_the_weighted_objective(weight: float, sharpness: float) -> None:
    for seed in range(3):
        params, state = drawn_model(DENSE, seed)
        last = params["discriminator"]["dense_1"]
        params["discriminator"]["dense_1"] = jax.tree.map(lambda leaf: np.float32(sharpness) * np.asarray(leaf), last)
        logits, both = losses(weight)(params, state, normal(40, 6), normal(40, 3, seed=1))
        real, fake = (np.asarray(part, np.float64) for part in logits)
        # log D = −log(1 + e^−ℓ), log(1 − D) = −log(1 + e^ℓ), by logaddexp.
        objective = -np.logaddexp(0, -real).mean() - weight * np.logaddexp(0, fake).mean()
        for (found, loss), saturating in zip(both, (True, False), strict=True):
            np.testing.assert_allclose(found, -objective, rtol=1e-5)
            generator = -np.logaddexp(0, fake).mean() if saturating else np.logaddexp(0, -fake).mean()
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
        params, state = drawn_model(model)
        params["discriminator"]["dense_1"]["bias"] = np.array([-50], np.float32)  # D is certain that all is generated
        z = jnp.ones((4, 3))
        norms.append(gradient_norms(lambda p, m=model, s=state, z=z: m.generator_loss(p, s, z)[0], params)["generator"])
    assert norms[0] < 1e-12
    assert norms[1] > 1e-4


def gradient_norms(loss: Any, params: Any) -> dict[str, float]:
    """The norm of the gradient with respect to each network's parameters."""
    gradient = jax.tree.map(np.asarray, jax.jit(jax.grad(loss))(params))
    return {
        part: float(np.sqrt(sum(np.square(leaf).sum() for leaf in jax.tree.leaves(of_part))))
        for part, of_part in gradient.items()
    }


def test_the_discriminators_loss_moves_the_discriminator_alone() -> None:
    params, state = drawn_model(DENSE)
    x, z = jnp.ones((4, 6)), jnp.ones((4, 3))
    norms = gradient_norms(lambda p: DENSE.discriminator_loss(p, state, x, z)[0], params)
    assert norms["generator"] == 0
    assert norms["discriminator"] > 0


@pytest.mark.parametrize(("weight", "seed"), [(0.3, 0), (1.0, 1), (5.0, 2)])
def test_the_best_discriminator_is_p_over_p_plus_weighted_q(weight: float, seed: int) -> None:
    """On a few points D can be any function, and minimising the loss gives D = p/(p + λ q) for frequencies p and q."""
    points, rng = 4, np.random.default_rng(seed)
    p, q = rng.integers(1, 6, points), rng.integers(1, 6, points)
    q = np.concatenate([q, [p.sum()]])[:points]
    identity = Sequential(dense_0=Dense(points, bias=False))
    model = gan((points,), points, generator=identity, discriminator=dense_discriminator(()), weight=weight)
    eye = np.eye(points, dtype=np.float32)
    state: dict[str, Any] = {"generator": {}, "discriminator": {}}
    x, z = (jnp.asarray(np.repeat(eye, counts, axis=0)) for counts in (p, q))

    def loss(kernel: jax.Array) -> jax.Array:
        judge = {"dense_0": {"kernel": kernel[:, None], "bias": jnp.zeros(1)}}
        params = {"generator": {"dense_0": {"kernel": eye}}, "discriminator": judge}
        return model.discriminator_loss(params, state, x, z)[0]

    @jax.jit
    def newton(kernel: jax.Array) -> jax.Array:  # the loss is convex, and the points do not interact
        moved: jax.Array = kernel - jax.grad(loss)(kernel) / jnp.diagonal(jax.hessian(loss)(kernel))
        return moved

    kernel = np.zeros(points, np.float32)
    for _ in range(60):
        kernel = np.asarray(newton(kernel))
    p_density, q_density = p / p.sum(), q / q.sum()
    np.testing.assert_allclose(special.expit(kernel), p_density / (p_density + weight * q_density), rtol=1e-4)


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
    params, state = drawn_model(DCGAN)
    x, z = np.asarray(normal(5, 28, 28, 1)), np.asarray(normal(5, 8))
    discriminator_loss, generate = jax.jit(DCGAN.discriminator_loss), jax.jit(DCGAN.generate)
    _, after_discriminator = discriminator_loss(params, state, x, z)
    _, after_generator = jax.jit(DCGAN.generator_loss)(params, state, z)
    for after in (after_discriminator, after_generator):
        moved = jax.tree.map(lambda a, b: not np.array_equal(a, b), after["generator"], state["generator"])
        assert all(jax.tree.leaves(moved))
    # The discriminator sees two batches, data and generated images, and its statistics move for each.
    statistics = [discriminator_loss(params, state, batch, z)[1]["discriminator"] for batch in (x, 2 * x)]
    gap = jax.tree.map(lambda a, b: np.abs(np.asarray(a) - b).max(), *statistics)["batch_stats"]["disc_1_1"]
    assert gap["mean"] > 1e-6
    assert gap["var"] > 1e-6
    eval_image = np.asarray(generate(params, after_generator, z))
    np.testing.assert_array_equal(eval_image[:2], generate(params, after_generator, z[:2]))


def test_each_player_goes_on_from_the_statistics_that_the_other_has_left() -> None:
    networks: dict[str, Any] = {
        "generator": Sequential(layers=[("a", Dense(4)), ("norm", BatchNorm()), ("b", Dense(6))]),
        "discriminator": Sequential(layers=[("a", Dense(5)), ("norm", BatchNorm()), ("b", Dense(1))]),
    }
    model = gan((6,), 3, **networks)
    training = gan_training(model, optax.sgd(0.1), optax.sgd(0.2))
    params, state = drawn_model(model)
    start, key, x = jax.jit(training.init)(jax.random.key(0)), jax.random.key(3), np.asarray(normal(9, 6))
    after, losses = jax.jit(training.step)(start._replace(params=params, state=state), key, x)
    noise, more = (np.asarray(model.sample_latent(part, (9,))) for part in jax.random.split(key))

    def run(part: str, p: Any, running: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """One network in training mode, and the running mean of its batch norm after this batch."""
        layers, epsilon = p[part], dict(networks[part].layers)["norm"].epsilon
        hidden = values @ np.asarray(layers["a"]["kernel"]) + np.asarray(layers["a"]["bias"])
        mean, norm = hidden.mean(0), (hidden - hidden.mean(0)) / np.sqrt(hidden.var(0) + epsilon)
        norm = norm * np.asarray(layers["norm"]["scale"]) + np.asarray(layers["norm"]["bias"])
        return norm @ np.asarray(layers["b"]["kernel"]) + np.asarray(layers["b"]["bias"]), 0.9 * running + 0.1 * mean

    # The discriminator sees data and images of the first noise, then the generator plays against the new discriminator.
    made, maker = run("generator", params, np.zeros(4), noise)
    real, judge = run("discriminator", params, np.zeros(5), x)
    false, judge = run("discriminator", params, judge, made)
    mixed = {"generator": params["generator"], "discriminator": after.params["discriminator"]}
    made, maker = run("generator", mixed, maker, more)
    again, judge = run("discriminator", mixed, judge, made)
    np.testing.assert_allclose(
        losses.discriminator, (np.logaddexp(0, -real) + np.logaddexp(0, false)).mean(), rtol=1e-4
    )
    np.testing.assert_allclose(losses.generator, np.logaddexp(0, -again).mean(), rtol=1e-4)
    for part, expected in (("generator", maker), ("discriminator", judge)):
        found = after.state[part]["batch_stats"]["norm"]["mean"]
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def test_a_step_is_two_optimisers_in_turn() -> None:
    def optimizer(rate: float) -> optax.GradientTransformation:
        return optax.sgd(rate)

    training = gan_training(DENSE, optimizer(0.1), optimizer(0.2))
    start, key, x = jax.jit(training.init)(jax.random.key(0)), jax.random.key(3), normal(4, 6)
    after, losses = jax.jit(training.step)(start, key, x)

    @jax.jit
    def by_hand(params: Any, key: jax.Array, x: jax.Array) -> Any:
        noise, more = (DENSE.sample_latent(part, (4,)) for part in jax.random.split(key))
        loss, gradient = jax.value_and_grad(lambda p: DENSE.discriminator_loss(p, start.state, x, noise)[0])(params)
        judge = jax.tree.map(lambda p, g: p - 0.2 * g, params["discriminator"], gradient["discriminator"])
        params = {**params, "discriminator": judge}
        other, gradient = jax.value_and_grad(lambda p: DENSE.generator_loss(p, start.state, more)[0])(params)
        maker = jax.tree.map(lambda p, g: p - 0.1 * g, params["generator"], gradient["generator"])
        return {**params, "generator": maker}, (other, loss)

    params, expected = by_hand(start.params, key, x)
    np.testing.assert_allclose(losses, expected, rtol=1e-5)
    chex.assert_trees_all_close(after.params, params, rtol=1e-4, atol=1e-6)


def test_every_step_has_the_same_program() -> None:
    training = gan_training(DCGAN, optax.adam(1e-3), optax.adam(1e-3))
    chex.clear_trace_counter()
    step = jax.jit(chex.assert_max_traces(training.step, n=1))
    state = start = jax.jit(training.init)(jax.random.key(0))
    for k in range(2):
        with jax.numpy_dtype_promotion("standard"):  # Adam in optax mixes integers and floats
            state, _ = step(state, jax.random.key(k), np.asarray(normal(3, 28, 28, 1)))
    chex.assert_trees_all_equal_shapes_and_dtypes(state, start)


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


def test_one_latent_variable_is_enough() -> None:
    model = gan((6,), 1, generator=dense_generator(6, (5,)), discriminator=dense_discriminator((5,)))
    assert jax.eval_shape(model.generate, *drawn_model(model), normal(3, 1)).shape == (3, 6)


def test_a_generator_ends_in_the_requested_output() -> None:
    z = normal(5, 3)
    for output, low, high in (("sigmoid", 0, 1), ("tanh", -1, 1), ("none", -np.inf, np.inf)):
        model = gan((6,), 3, generator=dense_generator(6, (5,), output))
        params, state = drawn_model(model)
        params["generator"]["dense_1"]["kernel"] = 100 * np.asarray(params["generator"]["dense_1"]["kernel"])
        x = np.asarray(jax.jit(model.generate)(params, state, z))
        assert low <= x.min() < x.max() <= high
        assert (x.min() < 0) == (low < 0)
    with pytest.raises(ConfigurationError, match="'relu'"):
        dcgan_generator(output="relu")
