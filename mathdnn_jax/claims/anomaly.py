"""Claims about anomaly detection by likelihood and by reconstruction: F12, V5, E9."""

from __future__ import annotations

import hypothesis.strategies as st
import jax
import numpy as np

from mathdnn_jax.claims.claim import claim
from mathdnn_jax.claims.evidence import EPS, check_equal, seeds
from mathdnn_jax.generative import autoencoder
from mathdnn_jax.tasks import detect, detect_by_error, error_threshold, halve, likelihood_threshold

levels = st.integers(-1000, 1000).map(lambda n: n / 10)
"""Few values, so that ties occur, also between the sets."""

log_likelihoods = st.lists(levels, min_size=4, max_size=40)


@claim(
    "F12.threshold",
    "at most one in 1 + 3² values of a validation set lies below its mean minus 3 standard deviations",
    source="course 000, Q3; Cantelli's inequality",
    values=log_likelihoods,
)
def validation_share(values: list[float]) -> None:
    """Compare the threshold with its definition, and count the values below it."""
    array = np.array(values)
    threshold = likelihood_threshold(array)
    deviation = np.sqrt(np.square(array - array.mean()).sum() / (len(array) - 1))
    check_equal("threshold", threshold, array.mean() - 3 * deviation, 64 * EPS * np.abs(array).max())
    below = int((array < threshold - 64 * EPS * np.abs(array).max()).sum())
    if below > len(array) / 10:
        raise AssertionError(f"{below} of {len(array)} values are below {threshold:.6g}")


@claim(
    "F12.errors",
    "a type I error is a held-out inlier below the threshold, a type II error is an outlier that is not; AUROC is "
    "P(inlier > outlier) + ½ P(inlier = outlier)",
    source="course 000, Q3",
    inliers=log_likelihoods,
    outliers=log_likelihoods,
    split=st.sampled_from(["halves", "random"]),
)
def error_counts(inliers: list[float], outliers: list[float], split: str) -> None:
    """Split the inliers, count errors one by one, and compare every pair of an inlier and an outlier."""
    values, other = np.array(inliers), np.array(outliers)
    validation, held_out = halve(len(values), "halves" if split == "halves" else "random")
    check_equal("indices of both halves", np.sort(np.concatenate([validation, held_out])), np.arange(len(values)), 0.0)
    test = values[held_out]
    found = detect(values[validation], test, other)
    threshold = likelihood_threshold(values[validation])
    below, above = sum(1 for value in test if value < threshold), sum(1 for value in other if not value < threshold)
    counts = (below, len(test), above, len(other))
    check_equal(
        "counts", (found.type_1_errors, found.type_1_total, found.type_2_errors, found.type_2_total), counts, 0.0
    )
    pairs = (test[:, None] > other).mean() + (test[:, None] == other).mean() / 2
    check_equal("AUROC", found.auroc, pairs, 16 * EPS)


MODEL = autoencoder((6, 4, 3, 2))
"""The autoencoder of the course on a small scale, with three layers on either side."""

_error = jax.jit(MODEL.reconstruction_error)


@claim(
    "V5.error",
    "the reconstruction of x is x̂ = sigmoid(W₆ ρ(W₅ … ρ(W₁ x + b₁) …) + b₆), with ρ = ReLU also for the code, and its "
    "error ‖x − x̂‖²/n, n = 784 in the course",
    source="course 002, P1",
    seed=seeds,
)
def reconstruction_error(seed: int) -> None:
    """Run the six layers in NumPy."""
    rng = np.random.default_rng(seed)
    shapes = jax.eval_shape(MODEL.init, jax.random.key(0))
    params = jax.tree.map(lambda leaf: rng.normal(size=leaf.shape) / np.sqrt(leaf.shape[0]), shapes)
    x = rng.uniform(size=6)
    layers = [params[side][f"dense_{k}"] for side in ("encoder", "decoder") for k in range(3)]
    value = x
    for k, layer in enumerate(layers):
        value = value @ layer["kernel"] + layer["bias"]
        value = 1 / (1 + np.exp(-value)) if k == len(layers) - 1 else np.maximum(value, 0)
    check_equal("error", _error(params, x), np.square(x - value).sum() / 6, 1e3 * EPS)


@claim(
    "V5.detector",
    "an image is an anomaly if its error exceeds m + 3 d, the mean and the standard deviation over a validation set; a "
    "type I error is a held-out inlier above it, a type II error an outlier that is not, and each is divided by the "
    "number of its images",
    source="course 002, P1; erratum E9",
    validation=log_likelihoods,
    inliers=log_likelihoods,
    outliers=log_likelihoods,
)
def detection_by_error(validation: list[float], inliers: list[float], outliers: list[float]) -> None:
    """Count the errors one by one; the thousandths of the numbers drawn are taken for errors."""
    held, test, other = (np.abs(np.array(values)) / 1000 for values in (validation, inliers, outliers))
    deviation = np.sqrt(np.square(held - held.mean()).sum() / (len(held) - 1))
    threshold = held.mean() + 3 * deviation
    found = detect_by_error(held, test, other)
    rounding = 64 * EPS * np.abs(held).max()
    check_equal("threshold", found.threshold, threshold, rounding)
    check_equal("threshold by error_threshold", error_threshold(held), threshold, rounding)
    # A value that rounding may put on either side is counted as the library counts it.
    above, below = (test > found.threshold).sum(), sum(1 for value in other if not value > found.threshold)
    counts = (above, len(test), below, len(other))
    reported = (found.type_1_errors, found.type_1_total, found.type_2_errors, found.type_2_total)
    check_equal("counts", reported, counts, 0.0)


@claim(
    "E9.batches",
    "the error rate is the number of errors over (number of batches · batch size)",
    source="course 002, P1; erratum E9",
    verdict="refuted",
    errors=st.lists(st.integers(0, 10), min_size=2, max_size=40),
    batch_size=st.integers(1, 20),
)
def rate_over_whole_batches(errors: list[int], batch_size: int) -> None:
    """Compare with the share of images, which does not depend on the batch size; a partial batch counts as whole."""
    found = detect_by_error(np.array([1.0, 2.0, 3.0]), np.array(errors, np.float64), np.array([9.0]))
    share = found.type_1_errors / found.type_1_total
    by_batches = found.type_1_errors / (-(-len(errors) // batch_size) * batch_size)
    if by_batches != share:
        raise AssertionError(
            f"{found.type_1_errors} of {len(errors)} images are errors, a rate of {share:.6g}; counted in batches of "
            f"{batch_size} it is {by_batches:.6g}"
        )
