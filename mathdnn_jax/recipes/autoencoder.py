"""The recipe of the autoencoder, which detects anomalies by its reconstruction error."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np

from mathdnn_jax import data
from mathdnn_jax.errors import ConfigurationError
from mathdnn_jax.generative import autoencoder
from mathdnn_jax.recipes.images import load_images, unit_pixels, with_events
from mathdnn_jax.recipes.measure import dtype_of, finite_mean, in_batches, masked_mean
from mathdnn_jax.recipes.recipe import Recipe, Sets, Settings, Task
from mathdnn_jax.tasks import detect_by_error, error_threshold
from mathdnn_jax.training.update import Tree


def load(settings: Settings) -> Sets:
    """Load images as vectors, uint8; the outliers are the test images of another data set.

    Raises:
        ConfigurationError: nothing is held out for validation, which determines the threshold.
    """
    if settings["validation"] == 0:
        raise ConfigurationError(
            "the threshold of an autoencoder needs a validation set, given validation=0; set validation above 0"
        )
    sets = load_images(settings)
    if settings["outliers"] != "none":
        outliers = data.load(settings["outliers"], "test", settings["data_dir"] or None)
        if outliers.images.shape[1:] != sets.image_shape:
            raise ConfigurationError(
                f"outliers must have the size of the images, {sets.image_shape}, given {settings['outliers']} with "
                f"{outliers.images.shape[1:]}; set outliers=none to go without"
            )
        sets = sets._replace(outliers={"image": outliers.images})
    return with_events(sets, (math.prod(sets.image_shape),))


def build(settings: Settings, image_shape: tuple[int, ...]) -> Task:
    """Minimise the mean squared error over all pixels.

    The metrics are the threshold, mean + 3 std of the validation set's errors; type I errors (test images above it) and
    type II errors (outliers not above it), as counts and rates; and the mean error of the test images.

    Source: course 002, P1; erratum E9.
    """
    model = autoencoder((math.prod(image_shape), *settings["widths"]))

    def error(params: Tree, batch: Tree) -> jax.Array:
        return model.reconstruction_error(params, unit_pixels(batch, dtype_of(params)))

    def loss(params: Tree, batch: Tree, key: jax.Array, mask: jax.Array | None = None) -> jax.Array:
        del key
        return masked_mean(error(params, batch), mask)

    measured = in_batches(lambda params, _, batch, __: error(params, batch))

    def errors(params: Tree, images: Tree) -> np.ndarray:
        values = measured(params, None, images, jax.random.key(0))
        finite_mean(values, "the reconstruction error")
        return np.asarray(values)

    def validate(params: Tree, state: Tree, examples: Tree) -> dict[str, float]:
        del state
        return {"validation_loss": float(errors(params, examples).mean())}

    def evaluate(params: Tree, state: Tree, sets: Sets) -> dict[str, float]:
        del state
        validation, test = errors(params, sets.validation), errors(params, sets.test)
        metrics = {"mean_squared_error": float(test.mean()), "examples": len(test)}
        if sets.outliers is None:
            threshold = error_threshold(validation)
            above = int((test > threshold).sum())
            return metrics | {
                "threshold": threshold,
                "type_1_errors": above,
                "type_1_total": len(test),
                "type_1_rate": above / len(test),
            }
        found = detect_by_error(validation, test, errors(params, sets.outliers))
        return {
            **metrics,
            **found._asdict(),
            "type_1_rate": found.type_1_errors / found.type_1_total,
            "type_2_rate": found.type_2_errors / found.type_2_total,
        }

    def reconstruct(params: Tree, state: Tree, images: np.ndarray) -> np.ndarray:
        del state
        return np.asarray(model.reconstruct(params, unit_pixels(jnp.asarray(images), jnp.float32)))

    return Task(
        init=lambda key, _: (model.init(key), None),
        loss=loss,
        validate=validate,
        evaluate=evaluate,
        reconstruct=reconstruct,
        torch={"": "autoencoder"},
        loss_unit="mean squared error",
    )


AUTOENCODER = Recipe(
    defaults={"widths": [256, 128, 32], "outliers": "none"},
    load=load,
    build=build,
    by_data={"outliers": {"mnist": "kmnist", "kmnist": "mnist", "digits": "photographs", "photographs": "digits"}},
)
