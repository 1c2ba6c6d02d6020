"""Parts of recipes: data, metrics in batches, masked losses, and the shapes of the DCGAN."""

from __future__ import annotations

from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mathdnn_jax.errors import NonFiniteError
from mathdnn_jax.generative import dcgan_discriminator, dcgan_generator, gan
from mathdnn_jax.recipes import RECIPES, Sets, find_recipe, resolve, three_gaussians, train, trained
from mathdnn_jax.recipes.images import to_levels
from mathdnn_jax.recipes.measure import finite_mean, in_batches, masked_mean
from mathdnn_jax.training import FitResult


def test_the_numbers_of_three_gaussians_with_and_without_the_mistake_of_the_course() -> None:
    right, as_in_the_course = (
        find_recipe("mixture-cdf").load(resolve("mixture-cdf", RECIPES["mixture-cdf"], {"data": name})).training
        for name in ("three-gaussians", "three-gaussians-e3")
    )
    assert len(right) == 5000
    assert len(as_in_the_course) == 6666  # erratum E3: 1666 + 1666 + 3334
    # The third mode, which lies beyond 0.85, has a third of the numbers, or half of them.
    assert np.mean(right > 0.85) == pytest.approx(1668 / 5000, abs=0.01)
    assert np.mean(as_in_the_course > 0.85) == pytest.approx(3334 / 6666, abs=0.01)
    assert len(three_gaussians(np.random.default_rng(0), 7)) == 7


@pytest.mark.parametrize("count", [3, 8, 20])
def test_metrics_in_batches_are_those_of_each_example(count: int) -> None:
    x = np.arange(2 * count, dtype=np.float32).reshape(count, 2)

    def total(params: Any, state: Any, batch: Any, key: jax.Array) -> dict[str, jax.Array]:
        del state, key
        return {"sum": params * batch.sum(-1)}

    chex.clear_trace_counter()
    run = in_batches(chex.assert_max_traces(total, n=1), batch_size=8)
    found = run(jnp.float32(2), None, x, jax.random.key(0))["sum"]
    assert found.dtype == np.float64
    np.testing.assert_array_equal(found, 2 * x.sum(-1))


def test_means() -> None:
    values = jnp.asarray([1.0, 2.0, jnp.nan], jnp.float32)
    assert float(masked_mean(values, jnp.asarray([True, True, False]))) == 1.5
    with pytest.raises(NonFiniteError, match="log p is nan for example 2"):
        finite_mean(np.asarray(values), "log p")


def test_loss_validation_and_evaluation_are_of_one_likelihood() -> None:
    recipe = RECIPES["mixture-cdf"]
    settings = resolve("mixture-cdf", recipe, {"numbers": 12, "test_numbers": 12, "components": 2})
    sets = recipe.load(settings)
    task = recipe.build(settings, sets.image_shape)
    params, state = task.init(jax.random.key(0), None)
    nats = task.evaluate(params, state, sets)["log_likelihood_nats"]
    assert task.validate is not None
    assert task.validate(params, state, sets.test) == {"validation_loss": -nats}
    assert callable(task.loss)
    assert float(task.loss(params, sets.test, jax.random.key(0))) == pytest.approx(-nats, rel=1e-6)


def test_averaged_parameters_are_the_trained_ones_where_they_are_kept() -> None:
    rest: dict[str, Any] = {"optimizer_state": None, "history": None, "step": 1, "epoch": 1, "stopped": False}
    result = FitResult(params={"a": jnp.ones(2)}, ema=None, state={"b": jnp.zeros(1)}, **rest)
    params, state = trained(result)
    assert type(params["a"]) is np.ndarray
    assert (params["a"][0], state["b"][0]) == (1, 0)
    averaged, _ = trained(result._replace(ema={"a": jnp.full(2, 0.5)}))
    assert averaged["a"][0] == 0.5


def test_pixels_of_digits_are_their_levels() -> None:
    levels = np.arange(17)
    np.testing.assert_array_equal(to_levels(np.rint(255 * levels / 16).astype(np.uint8), 17), levels)
    np.testing.assert_array_equal(to_levels(np.arange(256, dtype=np.uint8), 256), np.arange(256))


@pytest.mark.long
def test_dcgan_trains_on_images_between_minus_one_and_one() -> None:
    images = np.random.default_rng(0).integers(0, 256, (4, 28, 28, 1), dtype=np.uint8)
    sets = Sets(images, None, images, None, (28, 28))
    given = {"network": "dcgan", "width": 2, "latent_dim": 3, "batch_size": 2, "epochs": 1}
    settings = resolve("gan", RECIPES["gan"], given)
    task = RECIPES["gan"].build(settings, sets.image_shape)
    result = train(task, settings, sets)
    assert result.step == 2
    assert set(result.history.metrics) == {"discriminator_loss", "generator_loss"}
    assert task.sample is not None
    drawn = task.sample(result.params, result.state, jax.random.key(0), 2, 1.0)
    assert drawn.shape == (2, 28, 28)
    assert 0 <= drawn.min() < drawn.max() <= 1
    # The discriminator sees data between −1 and 1, the range of the generated images.
    model = gan((28, 28, 1), 3, generator=dcgan_generator(1, 2), discriminator=dcgan_discriminator(2))
    signed = jnp.asarray(2 * (images / np.float32(255)) - 1, jnp.float32)
    expected = float(model.discriminate(result.params, result.state, signed).mean())
    assert task.evaluate(result.params, result.state, sets)["mean_logit_test"] == pytest.approx(expected, rel=1e-4)
    assert task.torch == {"discriminator": "dcgan-discriminator", "generator": "dcgan-generator"}
