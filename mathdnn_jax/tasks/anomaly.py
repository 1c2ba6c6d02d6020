"""Anomaly detection by likelihood: what a flow finds improbable did not come from where its data came from."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Literal, NamedTuple

import jax
import numpy as np

from mathdnn_jax.bijectors import Params
from mathdnn_jax.data import unit_interval
from mathdnn_jax.errors import ConfigurationError, DataSetError, ImageError, NonFiniteError
from mathdnn_jax.flows import Flow
from mathdnn_jax.seeds import check_seed

DEVIATIONS = 3.0
"""How many standard deviations below the mean the threshold lies."""

Split = Literal["halves", "random"]


class Scores(NamedTuple):
    """log p(x) in nats of some images, and the seconds it took, compilation apart."""

    log_prob: np.ndarray
    seconds: float


class Detection(NamedTuple):
    """A threshold and how it does: errors of type I are inliers below it, of type II outliers not below it."""

    threshold: float
    type_1_errors: int
    type_1_total: int
    type_2_errors: int
    type_2_total: int
    auroc: float


def as_events(images: np.ndarray, event_shape: tuple[int, ...]) -> np.ndarray:
    """Images (N, H, W[, 3]), uint8 or floating on [0, 1], as a flow's events (N, *event_shape), float32 on [0, 1].

    Raises:
        ImageError: an image has another number of pixels than the event has entries, or values out of range.
        DataSetError: there are no images.
    """
    images = np.asarray(images)
    if len(images) and math.prod(images.shape[1:]) != math.prod(event_shape):
        raise ImageError(
            f"the flow is on events {event_shape}, {math.prod(event_shape)} numbers; given images of shape "
            f"{images.shape[1:]}, {math.prod(images.shape[1:])} pixels; take a data set of the flow's image size"
        )
    return unit_interval(images).reshape(len(images), *event_shape)


def score(
    flow: Flow,
    params: Params,
    images: np.ndarray,
    *,
    batch_size: int = 1000,
    precision: str = "highest",
    on_batch: Callable[[int], object] | None = None,
) -> Scores:
    """Log p(x) of each image, in batches of one shape, so that one compiled program serves all of them.

    Args:
        flow: the density.
        params: its parameters.
        images: as `as_events` takes them.
        batch_size: images at a time; the last batch is filled up and the filling dropped.
        precision: of float32 matrix products. JAX's default on a GPU is TF32, whose rounding is 2¹³ times
            coarser; on a CPU all precisions are the same.
        on_batch: called with the number of images of each finished batch.

    Raises:
        ImageError, DataSetError: as `as_events` does.
        ConfigurationError: batch_size < 1.
        NonFiniteError: a log-likelihood is NaN or infinite; the first such image is named.
    """
    if batch_size < 1:
        raise ConfigurationError(f"images are scored at least one at a time, given batch_size={batch_size}")
    events = as_events(images, flow.prior.event_shape)
    batch_size = min(batch_size, len(events))
    first = np.ascontiguousarray(events[:batch_size])
    log_prob = jax.jit(flow.log_prob)

    def run(batch: np.ndarray) -> np.ndarray:
        with jax.default_matmul_precision(precision):
            return np.asarray(log_prob(params, batch))

    run(first)  # compiles
    values, seconds = [], 0.0
    for start in range(0, len(events), batch_size):
        batch = events[start : start + batch_size]
        filling = np.zeros((batch_size - len(batch), *batch.shape[1:]), batch.dtype)
        began = time.perf_counter()
        values.append(run(np.concatenate([batch, filling]))[: len(batch)])
        seconds += time.perf_counter() - began
        if on_batch is not None:
            on_batch(len(batch))
    result = np.concatenate(values)
    if not np.isfinite(result).all():
        wrong = np.flatnonzero(~np.isfinite(result))
        raise NonFiniteError(
            f"log p is {result[wrong[0]]} for image {wrong[0]} and {len(wrong)} of {len(result)} images in all; "
            f"the parameters or the images are beyond what float32 holds"
        )
    return Scores(result, seconds)


def halve(count: int, split: Split = "halves", seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """The indices of the validation and of the test half of `count` inliers; the test half has the odd one.

    "halves" takes the first half for validation; "random" shuffles first, by NumPy's generator with `seed`.

    Raises:
        ConfigurationError: another split, or an impossible seed.
        DataSetError: fewer than 4 images, whose first half would have no standard deviation.
    """
    if split not in ("halves", "random"):
        raise ConfigurationError(f"the split is 'halves' or 'random', given {split!r}")
    check_seed(seed)
    if count < 4:
        raise DataSetError(
            f"{count} images cannot be halved into a validation set of at least two and a test set; give more images"
        )
    order = np.arange(count) if split == "halves" else np.random.default_rng(seed).permutation(count)
    return order[: count // 2], order[count // 2 :]


def likelihood_threshold(log_prob: np.ndarray, deviations: float = DEVIATIONS) -> float:
    """Mean − deviations · std of a validation set's log-likelihoods (N,), in nats, with the N − 1 estimator.

    Raises:
        DataSetError: fewer than two values have no standard deviation.
        NonFiniteError: a value is NaN or infinite.

    Source: seed 000 Q3.
    """
    log_prob = np.asarray(log_prob, dtype=np.float64)
    if log_prob.size < 2:
        raise DataSetError(
            f"a standard deviation needs at least two validation images, given {log_prob.size}; give more images"
        )
    _check_finite(log_prob, "validation")
    return float(log_prob.mean() - deviations * log_prob.std(ddof=1))


def auroc(inlier: np.ndarray, outlier: np.ndarray) -> float:
    """P(log p(inlier) > log p(outlier)) + ½ P(equal): the area under the ROC curve, as the Mann-Whitney statistic.

    Raises:
        DataSetError: one of the two has no values.
        NonFiniteError: a value is NaN or infinite.
    """
    if not (inlier.size and outlier.size):
        raise DataSetError(f"an AUROC needs inliers and outliers, given {inlier.size} and {outlier.size}")
    _check_finite(inlier, "inlier")
    _check_finite(outlier, "outlier")
    from scipy.stats import rankdata

    ranks = rankdata(np.concatenate([inlier, outlier]))[: inlier.size]
    return float((ranks.sum() - inlier.size * (inlier.size + 1) / 2) / (inlier.size * outlier.size))


def detect(validation: np.ndarray, inlier: np.ndarray, outlier: np.ndarray) -> Detection:
    """Judge log-likelihoods (N,) of inliers and outliers by the threshold of a validation set; below is an anomaly.

    Raises:
        DataSetError, NonFiniteError: as `likelihood_threshold` and `auroc` do.

    Source: seed 000 Q3.
    """
    threshold = likelihood_threshold(validation)
    area = auroc(inlier, outlier)
    return Detection(
        threshold=threshold,
        type_1_errors=int((inlier < threshold).sum()),
        type_1_total=inlier.size,
        type_2_errors=int((outlier >= threshold).sum()),
        type_2_total=outlier.size,
        auroc=area,
    )


def _check_finite(log_prob: np.ndarray, name: str) -> None:
    if not np.isfinite(log_prob).all():
        raise NonFiniteError(f"{int((~np.isfinite(log_prob)).sum())} {name} log-likelihoods are NaN or infinite")
