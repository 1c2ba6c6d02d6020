"""Anomaly detection by reconstruction: images that an autoencoder reconstructs badly are unlike its training data."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mathdnn_jax.bijectors import Params
from mathdnn_jax.generative import Autoencoder
from mathdnn_jax.tasks.anomaly import DEVIATIONS, Detection, detect, likelihood_threshold
from mathdnn_jax.tasks.per_image import evaluate_per_image


def reconstruction_errors(
    model: Autoencoder,
    params: Params,
    images: np.ndarray,
    *,
    batch_size: int = 1000,
    precision: str = "highest",
    on_batch: Callable[[int], object] | None = None,
) -> np.ndarray:
    """Compute the mean squared reconstruction error of each image, in batches of one shape.

    The number of images need not be a multiple of the batch size: the last batch is padded, and the padding dropped
    (erratum E9).

    Args:
        model: the autoencoder.
        params: its parameters.
        images: (N, H, W) or (N, dim), uint8 or floating on [0, 1].
        batch_size: the number of images evaluated at a time.
        precision: the precision of float32 matrix products, as in `score`.
        on_batch: called with the number of images of each finished batch.

    Returns:
        The errors (N,).

    Raises:
        ImageError, DataSetError: the images do not fit the model or have values outside [0, 1], or there are none.
        ConfigurationError: batch_size < 1.
        NonFiniteError: an error is NaN or infinite.

    Example:
        >>> import jax, numpy as np, mathdnn_jax as mj
        >>> model = mj.autoencoder((4, 3, 2))
        >>> params = model.init(jax.random.key(0))
        >>> mj.tasks.reconstruction_errors(model, params, np.zeros((5, 2, 2), np.uint8), batch_size=2).shape
        (5,)

    Source: course 002, P1.
    """
    errors, _ = evaluate_per_image(
        model.reconstruction_error,
        params,
        images,
        model.event_shape,
        "the reconstruction error",
        batch_size=batch_size,
        precision=precision,
        on_batch=on_batch,
    )
    return errors


def error_threshold(errors: np.ndarray, deviations: float = DEVIATIONS) -> float:
    """Mean + deviations · std of a validation set's reconstruction errors (N,), with the N − 1 estimator.

    Returns:
        The threshold, in the unit of the errors.

    Raises:
        DataSetError, NonFiniteError: as in `likelihood_threshold`.

    Source: course 002, P1.
    """
    return -likelihood_threshold(-np.asarray(errors), deviations)


def detect_by_error(validation: np.ndarray, inlier: np.ndarray, outlier: np.ndarray) -> Detection:
    """Detect anomalies: images whose reconstruction error lies above the threshold of a validation set.

    Totals are numbers of images, whatever the batches were (erratum E9).

    Args:
        validation: errors (N,) of the validation set, which determine the threshold.
        inlier: errors of test images of the same kind.
        outlier: errors of anomalies.

    Raises:
        DataSetError, NonFiniteError: as in `detect`.

    Example:
        >>> import numpy as np, mathdnn_jax as mj
        >>> found = mj.tasks.detect_by_error(np.array([1.0, 2.0, 3.0]), np.array([2.0, 9.0]), np.array([8.0, 1.0]))
        >>> found.threshold, found.type_1_errors, found.type_2_errors
        (5.0, 1, 1)

    Source: course 002, P1.
    """
    found = detect(-np.asarray(validation), -np.asarray(inlier), -np.asarray(outlier))
    return found._replace(threshold=-found.threshold)
