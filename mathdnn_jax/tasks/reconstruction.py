"""Anomaly detection by reconstruction: what an autoencoder rebuilds badly is not of the kind it was trained on."""

from __future__ import annotations

from collections.abc import Callable

import jax
import numpy as np

from mathdnn_jax.bijectors import Params
from mathdnn_jax.errors import ConfigurationError, NonFiniteError
from mathdnn_jax.generative import Autoencoder
from mathdnn_jax.tasks.anomaly import DEVIATIONS, Detection, as_events, detect, likelihood_threshold


def reconstruction_errors(
    model: Autoencoder,
    params: Params,
    images: np.ndarray,
    *,
    batch_size: int = 1000,
    precision: str = "highest",
    on_batch: Callable[[int], object] | None = None,
) -> np.ndarray:
    """The mean squared reconstruction error (N,) of each image, in batches of one shape.

    The number of images need not be a multiple of the batch size: the last batch is filled up, and the filling dropped
    (erratum E9).

    Args:
        model: the autoencoder.
        params: its parameters.
        images: (N, H, W) or (N, dim), uint8 or floating on [0, 1].
        batch_size: images at a time.
        precision: of float32 matrix products, as `score` takes it.
        on_batch: called with the number of images of each finished batch.

    Raises:
        ImageError, DataSetError: the images are not the model's, or not on [0, 1], or there are none.
        ConfigurationError: batch_size < 1.
        NonFiniteError: an error is NaN or infinite.

    Source: seed 002 P1.
    """
    if batch_size < 1:
        raise ConfigurationError(f"images are judged at least one at a time, given batch_size={batch_size}")
    events = as_events(images, model.event_shape)
    batch_size = min(batch_size, len(events))
    error = jax.jit(model.reconstruction_error)
    values = []
    for start in range(0, len(events), batch_size):
        batch = events[start : start + batch_size]
        filling = np.zeros((batch_size - len(batch), *batch.shape[1:]), batch.dtype)
        with jax.default_matmul_precision(precision):
            values.append(np.asarray(error(params, np.concatenate([batch, filling])))[: len(batch)])
        if on_batch is not None:
            on_batch(len(batch))
    result = np.concatenate(values)
    if not np.isfinite(result).all():
        wrong = np.flatnonzero(~np.isfinite(result))
        raise NonFiniteError(
            f"the reconstruction error is {result[wrong[0]]} for image {wrong[0]}, {len(wrong)} in all"
        )
    return result


def error_threshold(errors: np.ndarray, deviations: float = DEVIATIONS) -> float:
    """Mean + deviations · std of a validation set's reconstruction errors (N,), with the N − 1 estimator.

    Raises:
        DataSetError, NonFiniteError: as `likelihood_threshold` does.

    Source: seed 002 P1.
    """
    return -likelihood_threshold(-np.asarray(errors), deviations)


def detect_by_error(validation: np.ndarray, inlier: np.ndarray, outlier: np.ndarray) -> Detection:
    """Judge reconstruction errors (N,) by the threshold of a validation set; above it is an anomaly.

    Rates are counts divided by the number of images, whatever the batches were (erratum E9).

    Raises:
        DataSetError, NonFiniteError: as `detect` does.

    Source: seed 002 P1.
    """
    found = detect(-np.asarray(validation), -np.asarray(inlier), -np.asarray(outlier))
    return found._replace(threshold=-found.threshold)
