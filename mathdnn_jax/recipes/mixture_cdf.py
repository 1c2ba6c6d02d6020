"""The recipe of the one-dimensional flow, on numbers drawn from three Gaussians."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np

from mathdnn_jax.errors import ConfigurationError
from mathdnn_jax.flows import mixture_cdf_flow, mixture_cdf_mass
from mathdnn_jax.recipes.maximum_likelihood import log_likelihood, sampler
from mathdnn_jax.recipes.recipe import Recipe, Sets, Settings, Task
from mathdnn_jax.training.update import Tree

MODES = ((-1.0, 0.25), (0.2, 0.25), (1.5, 0.25))
"""The mean and the standard deviation of each Gaussian."""


def three_gaussians(rng: np.random.Generator, count: int, last: int | None = None) -> np.ndarray:
    """Draw `count` numbers in three nearly equal parts, one from each Gaussian.

    The last part has the remaining numbers, or `last` of them. With last = count − count // 3 the data are those of
    the course, in which the third mode is doubled and there are more numbers than requested (erratum E3).

    Returns:
        The numbers, float32.

    Source: course 002, P2.
    """
    third = count // 3
    sizes = (third, third, count - 2 * third if last is None else last)
    parts = [rng.normal(mean, std, size) for (mean, std), size in zip(MODES, sizes, strict=True)]
    return np.concatenate(parts).astype(np.float32)


def load(settings: Settings) -> Sets:
    """Draw numbers (N,) for training and for testing, each with its own generator.

    Raises:
        ConfigurationError: there are fewer than three numbers, one for each Gaussian.
    """
    if min(settings["numbers"], settings["test_numbers"]) < 3:
        raise ConfigurationError(
            f"three Gaussians need at least three numbers for training and for testing, given "
            f"numbers={settings['numbers']}, test_numbers={settings['test_numbers']}"
        )

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
    """Minimise −mean log p(x) in nats, and report it for the test numbers after every epoch.

    The metrics are the mean log p(x) of the test numbers in nats and the mean −log₂ p(x) in bits. Since the density of
    the flow as in the course integrates to less than 1 (erratum E4), they include its mass and the mean log-density
    after division by the mass.

    Source: course 002, P2.
    """
    del image_shape
    flow = mixture_cdf_flow(settings["components"], settings["normalised"])

    density = log_likelihood(
        lambda params, batch, _: flow.log_prob(params, batch), "log p", jax.random.key(0), batch_size=1000
    )

    def evaluate(params: Tree, state: Tree, sets: Sets) -> dict[str, float]:
        del state
        nats = density.mean(params, sets.test)
        mass = 1.0 if settings["normalised"] else float(mixture_cdf_mass(params))
        return {
            "log_likelihood_nats": nats,
            "bits_per_dim": -nats / math.log(2),
            "mass": mass,
            "log_likelihood_nats_divided_by_mass": nats - math.log(mass),
            "examples": len(sets.test),
        }

    def curve(params: Tree, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        points = jnp.asarray(x, jnp.float32)
        return np.exp(np.asarray(flow.log_prob(params, points))), np.asarray(flow.forward(params, points)[0])

    return Task(
        init=lambda key, _: (flow.init(key), None),
        loss=density.loss,
        validate=density.validate,
        evaluate=evaluate,
        sample=sampler(flow, ()),
        curve=curve,
        tests_each_epoch=True,
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
