"""The images of a run: training, validation and test sets."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mathdnn_jax import data
from mathdnn_jax.errors import DataSetError
from mathdnn_jax.recipes.recipe import Sets, Settings

GREATEST = 255
"""The greatest value of a byte."""
LEVELS: Mapping[str, int] = MappingProxyType({"digits": 17, "photographs": 17})
"""The number of values of a pixel, for data sets that have fewer than 256."""


def load_images(settings: Settings) -> Sets:
    """Load {"image": uint8 (N, H, W[, 3]), "label": int32 (N,)}; validation is a random part of the training set.

    Raises:
        DataSetError: the validation set leaves nothing to train on.
    """
    directory = settings["data_dir"] or None
    training, test = (_examples(data.load(settings["data"], split, directory)) for split in ("train", "test"))
    count = len(training["label"])
    held = round(settings["validation"] * count)
    if held >= count:
        raise DataSetError(f"{held} of {count} examples are held out for validation, which leaves none to train on")
    order = np.random.default_rng(settings["seed"]).permutation(count) if held else np.arange(count)
    return Sets(
        training=_rows(training, np.sort(order[held:])),
        validation=_rows(training, np.sort(order[:held])) if held else None,
        test=test,
        outliers=None,
        image_shape=test["image"].shape[1:],
    )


def with_events(sets: Sets, event_shape: tuple[int, ...]) -> Sets:
    """Drop the labels and turn the images into events, uint8 (N, *event_shape)."""

    def events(examples: Any) -> Any:
        return None if examples is None else examples["image"].reshape(-1, *event_shape)

    return sets._replace(
        training=events(sets.training),
        validation=events(sets.validation),
        test=events(sets.test),
        outliers=events(sets.outliers),
    )


def to_levels(images: np.ndarray, levels: int) -> np.ndarray:
    """Round bytes to integers from 0 to levels − 1, uint8."""
    return np.rint(images * np.float32((levels - 1) / GREATEST)).astype(np.uint8)


def unit_pixels(images: jax.Array, dtype: Any) -> jax.Array:
    """Scale bytes to [0, 1] in the given dtype; images of other dtypes are already scaled and only cast."""
    if images.dtype == jnp.uint8:
        return images.astype(dtype) / jnp.asarray(GREATEST, dtype)
    return images.astype(dtype)


def channels_last(image_shape: tuple[int, ...]) -> tuple[int, ...]:
    """(H, W) → (H, W, 1); (H, W, 3) stays as it is."""
    return image_shape if len(image_shape) == 3 else (*image_shape, 1)


def _examples(loaded: data.Dataset) -> dict[str, np.ndarray]:
    return {"image": loaded.images, "label": loaded.labels.astype(np.int32)}


def _rows(examples: dict[str, np.ndarray], rows: np.ndarray) -> dict[str, np.ndarray]:
    return {name: array[rows] for name, array in examples.items()}
