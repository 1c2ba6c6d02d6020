"""Claims about anomaly detection by likelihood: F12."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np

from mathdnn_jax.claims.claim import claim
from mathdnn_jax.claims.evidence import EPS, check_equal
from mathdnn_jax.tasks import detect, halve, likelihood_threshold

levels = st.integers(-1000, 1000).map(lambda n: n / 10)
"""Few enough values that ties occur, between the sets too."""

log_likelihoods = st.lists(levels, min_size=4, max_size=40)


@claim(
    "F12.threshold",
    "of a validation set at most one in 1 + 3² lies below its mean − 3 standard deviations",
    source="000 Q3; Cantelli's inequality",
    values=log_likelihoods,
)
def validation_share(values: list[float]) -> None:
    """Count, and compare the threshold with its definition."""
    array = np.array(values)
    threshold = likelihood_threshold(array)
    deviation = np.sqrt(np.square(array - array.mean()).sum() / (len(array) - 1))
    check_equal("threshold", threshold, array.mean() - 3 * deviation, 64 * EPS * np.abs(array).max())
    below = int((array < threshold - 64 * EPS * np.abs(array).max()).sum())
    if below > len(array) / 10:
        raise AssertionError(f"{below} of {len(array)} values are below {threshold:.6g}")


@claim(
    "F12.errors",
    "an error of type I is a held-out inlier below the threshold, one of type II an outlier that is not; AUROC is "
    "P(inlier > outlier) + ½ P(equal)",
    source="000 Q3",
    inliers=log_likelihoods,
    outliers=log_likelihoods,
    split=st.sampled_from(["halves", "random"]),
)
def error_counts(inliers: list[float], outliers: list[float], split: str) -> None:
    """Split the inliers, count one by one, and compare every pair."""
    values, other = np.array(inliers), np.array(outliers)
    validation, held_out = halve(len(values), "halves" if split == "halves" else "random")
    check_equal("both halves together", np.sort(np.concatenate([validation, held_out])), np.arange(len(values)), 0.0)
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


CLAIMS = (validation_share, error_counts)
