"""The one-dimensional flow, on numbers drawn from three Gaussians."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np

from mathdnn_jax.errors import ConfigurationError
from mathdnn_jax.flows import mixture_cdf_flow, mixture_cdf_mass
from mathdnn_jax.recipes.measure import finite_mean, in_batches, masked_mean
from mathdnn_jax.recipes.recipe import Recipe, Sets, Settings, Task
from mathdnn_jax.training.update import Tree

MODES = ((-1.0, 0.25), (0.2, 0.25), (1.5, 0.25))
"""Mean and standard deviation of each Gaussian."""


def three_gaussians(rng: np.random.Generator, count: int, last: int | None = None) -> np.ndarray:
    """`count` numbers in three nearly equal parts, one from each Gaussian; float32.

    The last part has what the others leave, or `last` numbers: with count − count // 3 of them it is the seed's data,
    in which the third mode is doubled and there are more numbers than were asked for (erratum E3).

    Source: seed 002 P2.
    """
    third = count // 3
    sizes = (third, third, count - 2 * third if last is None else last)
    parts = [rng.normal(mean, std, size) for (mean, std), size in zip(MODES, sizes, strict=True)]
    return np.concatenate(parts).astype(np.float32)


def load(settings: Settings) -> Sets:
    """Numbers (N,): for training and test, each drawn from its own generator.

    Raises:
        ConfigurationError: fewer than three numbers, which make no three parts.
    """
    if min(settings["numbers"], settings["test_numbers"]) < 3:
        raise ConfigurationError("three Gaussians make at least three numbers, for training and for the test")

    def draw(stream: int, count: int) -> np.ndarray:
        last = count - count // 3 if settings["data"] == "three-gaussians-e3" else None
        return three_gaussians(np.random.default_rng([settings["seed"], stream]), count, last)

    training = draw(0, settings["numbers"])
    held = round(settings["validation"] * len(training))
    order = np.random.default_rng([settings["seed"], 2]).permutation(len(training))
    return Sets(
        training=training[np.sort(order[held:])],
        validation=training[np.sort(order[:held])] if held else None,
        test=draw(1, settings["test_numbers"]),
        outliers=None,
        image_shape=(),
    )


def build(settings: Settings, image_shape: tuple[int, ...]) -> Task:
    """Minimise −mean log p(x) in nats.

    Figures: the mean log p(x) of the test numbers in nats and −log₂ p(x) in bits, and, as the density of the seed's
    flow integrates to less than 1 (erratum E4), its mass, and the mean of the density divided by it.

    Source: seed 002 P2.
    """
    del image_shape
    flow = mixture_cdf_flow(settings["components"], settings["normalised"])

    def loss(params: Tree, batch: Tree, key: jax.Array, mask: jax.Array | None = None) -> jax.Array:
        del key
        return masked_mean(-flow.log_prob(params, batch), mask)

    measured = in_batches(lambda params, _, batch, __: flow.log_prob(params, batch), batch_size=1000)

    def mean_log_prob(params: Tree, numbers: Tree) -> float:
        return finite_mean(measured(params, None, numbers, jax.random.key(0)), "log p")

    def validate(params: Tree, state: Tree, examples: Tree) -> dict[str, float]:
        del state
        return {"validation_loss": -mean_log_prob(params, examples)}

    def evaluate(params: Tree, state: Tree, sets: Sets) -> dict[str, float]:
        del state
        nats = mean_log_prob(params, sets.test)
        mass = 1.0 if settings["normalised"] else float(mixture_cdf_mass(params))
        return {
            "log_likelihood_nats": nats,
            "bits_per_dim": -nats / math.log(2),
            "mass": mass,
            "log_likelihood_nats_divided_by_mass": nats - math.log(mass),
            "examples": len(sets.test),
        }

    draw = jax.jit(flow.sample, static_argnums=2)

    def sample(params: Tree, state: Tree, key: jax.Array, count: int, temperature: float) -> np.ndarray:
        del state
        return np.asarray(draw(params, key, (count,), None, temperature))

    def curve(params: Tree, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        points = jnp.asarray(x, jnp.float32)
        return np.exp(np.asarray(flow.log_prob(params, points))), np.asarray(flow.forward(params, points)[0])

    return Task(
        init=lambda key, _: (flow.init(key), None),
        loss=loss,
        validate=validate,
        evaluate=evaluate,
        sample=sample,
        curve=curve,
    )


MIXTURE_CDF = Recipe(
    defaults={
        "data": "three-gaussians",
        "numbers": 5000,
        "test_numbers": 1000,
        "components": 5,
        "normalised": False,
        "epochs": 100,
        "batch_size": 128,
        "learning_rate": 5e-2,
        "validation": 0.0,
        "checkpoint_epochs": 10,
    },
    load=load,
    build=build,
    choices={"data": ("three-gaussians", "three-gaussians-e3"), "precision": ("float32",)},
)
