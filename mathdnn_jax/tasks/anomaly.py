"""Anomaly detection by likelihood: images that a flow finds improbable are unlike its training data."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np

from mathdnn_jax.bijectors import Params
from mathdnn_jax.errors import ConfigurationError, DataSetError, NonFiniteError
from mathdnn_jax.flows import Flow
from mathdnn_jax.seeds import check_seed
from mathdnn_jax.tasks.per_image import evaluate_per_image

DEVIATIONS = 3.0
"""The distance of the threshold below the mean, in standard deviations."""

Split = Literal["halves", "random"]


class Scores(NamedTuple):
    """log p(x) in nats for some images, and the seconds it took, excluding compilation."""

    log_prob: np.ndarray
    seconds: float


class Detection(NamedTuple):
    """A threshold and its errors: type I errors are inliers below it, type II errors are outliers not below it."""

    threshold: float
    type_1_errors: int
    type_1_total: int
    type_2_errors: int
    type_2_total: int
    auroc: float


def score(
    flow: Flow,
    params: Params,
    images: np.ndarray,
    *,
    batch_size: int = 1000,
    precision: str = "highest",
    on_batch: Callable[[int], object] | None = None,
) -> Scores:
    """Compute log p(x) of each image, in batches of one shape, so that one compiled program serves them all.

    Args:
        flow: the density.
        params: its parameters.
        images: (N, H, W[, 3]), uint8 or floating on [0, 1].
        batch_size: the number of images evaluated at a time; the last batch is padded and the padding dropped.
        precision: the precision of float32 matrix products. JAX's default on a GPU is TF32, whose rounding is 2¹³ times
            coarser; on a CPU all precisions are the same.
        on_batch: called with the number of images of each finished batch.

    Raises:
        ImageError: the images have another number of pixels than the flow's events, or values out of range.
        DataSetError: there are no images.
        ConfigurationError: batch_size < 1.
        NonFiniteError: a log-likelihood is NaN or infinite; the message names the first such image.

    Example:
        >>> import jax, numpy as np, mathdnn_jax as mj
        >>> flow = mj.nice(dim=4, width=8)
        >>> params = flow.init(jax.random.key(0))
        >>> images = np.zeros((3, 2, 2), np.uint8)
        >>> mj.tasks.score(flow, params, images).log_prob.shape
        (3,)
    """
    return Scores(
        *evaluate_per_image(
            flow.log_prob,
            params,
            images,
            flow.prior.event_shape,
            "log p",
            batch_size=batch_size,
            precision=precision,
            on_batch=on_batch,
            compile_first=True,
        )
    )


def halve(count: int, split: Split = "halves", seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Split the indices of `count` inliers into halves for validation and for testing; the latter gets the odd one.

    "halves" takes the first half for validation; "random" shuffles first, by NumPy's generator with `seed`.

    Returns:
        (validation, test): two arrays of indices.

    Raises:
        ConfigurationError: the split is unknown, or the seed is impossible.
        DataSetError: fewer than 4 images, whose first half would have no standard deviation.
    """
    if split not in ("halves", "random"):
        raise ConfigurationError(f"the split is 'halves' or 'random', given {split!r}")
    check_seed(seed)
    if count < 4:
        raise DataSetError(
            f"{count} images cannot be halved into a validation set of at least two and a test set; provide more images"
        )
    order = np.arange(count) if split == "halves" else np.random.default_rng(seed).permutation(count)
    return order[: count // 2], order[count // 2 :]


def likelihood_threshold(log_prob: np.ndarray, deviations: float = DEVIATIONS) -> float:
    """Mean − deviations · std of a validation set's log-likelihoods (N,), with the N − 1 estimator of the variance.

    Returns:
        The threshold in nats.

    Raises:
        DataSetError: fewer than two values, which have no standard deviation.
        NonFiniteError: a value is NaN or infinite.

    Source: course 000, Q3.
    """
    log_prob = np.asarray(log_prob, dtype=np.float64)
    if log_prob.size < 2:
        raise DataSetError(
            f"a standard deviation needs at least two validation images, given {log_prob.size}; provide more images"
        )
    _check_finite(log_prob, "validation")
    return float(log_prob.mean() - deviations * log_prob.std(ddof=1))


def auroc(inlier: np.ndarray, outlier: np.ndarray) -> float:
    """P(log p(inlier) > log p(outlier)) + ½ P(equal): the area under the ROC curve, as the Mann-Whitney statistic.

    Raises:
        DataSetError: one of the two sets is empty.
        NonFiniteError: a value is NaN or infinite.

    Example:
        >>> import numpy as np, mathdnn_jax as mj
        >>> mj.tasks.auroc(inlier=np.array([1.0, 3.0]), outlier=np.array([0.0, 2.0]))
        0.75
    """
    if not (inlier.size and outlier.size):
        raise DataSetError(f"an AUROC needs inliers and outliers, given {inlier.size} and {outlier.size}")
    _check_finite(inlier, "inlier")
    _check_finite(outlier, "outlier")
    from scipy.stats import rankdata

    ranks = rankdata(np.concatenate([inlier, outlier]))[: inlier.size]
    return float((ranks.sum() - inlier.size * (inlier.size + 1) / 2) / (inlier.size * outlier.size))


def detect(validation: np.ndarray, inlier: np.ndarray, outlier: np.ndarray) -> Detection:
    """Detect anomalies: images whose log-likelihood lies below the threshold of a validation set.

    Args:
        validation: log-likelihoods (N,) of the validation set, which determine the threshold.
        inlier: log-likelihoods of test images of the same kind.
        outlier: log-likelihoods of anomalies.

    Raises:
        DataSetError, NonFiniteError: as in `likelihood_threshold` and `auroc`.

    Example:
        >>> import numpy as np, mathdnn_jax as mj
        >>> found = mj.tasks.detect(np.array([0.0, 1.0, 2.0]), np.array([1.0, -9.0]), np.array([-5.0, 3.0, -4.0]))
        >>> found.threshold, found.type_1_errors, found.type_2_errors
        (-2.0, 1, 1)

    Source: course 000, Q3.
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
