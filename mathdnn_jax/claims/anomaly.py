"""Claims about anomaly detection (F12, E9) and about the data of the one-dimensional flow (F10, E3)."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np

from mathdnn_jax.claims.claim import claim
from mathdnn_jax.claims.evidence import EPS, check_equal
from mathdnn_jax.recipes.mixture_cdf import MODES, three_gaussians
from mathdnn_jax.tasks import detect, detect_by_error, halve, likelihood_threshold

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


@claim(
    "E3.count",
    "n, n and num − n numbers, where n = ⌊num/3⌋, are num numbers, a third for each mode",
    source="course 002, P2; erratum E3",
    verdict="refuted",
    num=st.integers(3, 5000),
)
def parts_of_three(num: int) -> None:
    """Draw this data set, in which the last mode has twice its share."""
    drawn = three_gaussians(np.random.default_rng(0), num, num - num // 3)
    if len(drawn) != num:
        raise AssertionError(f"{len(drawn):,} numbers are drawn, although {num:,} were asked for")


@claim(
    "F10.data",
    "n, n and num − 2n numbers, where n = ⌊num/3⌋, are num numbers, a third for each mode",
    source="course 002, P2; erratum E3",
    num=st.integers(3, 5000),
)
def three_even_parts(num: int) -> None:
    """Count all numbers, and those near each of the three modes, which are nearly five standard deviations apart."""
    drawn = three_gaussians(np.random.default_rng(0), num)
    check_equal("number of draws", len(drawn), num, 0.0)
    means = np.array([mean for mean, _ in MODES])
    kinds = np.bincount(np.abs(drawn[:, None] - means).argmin(1), minlength=3)
    if num >= 60 and np.abs(kinds - num / 3).max() > num / 10:
        raise AssertionError(f"the modes have {kinds.tolist()} of {num:,} numbers")
