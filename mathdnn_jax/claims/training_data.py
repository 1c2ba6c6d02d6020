"""Claims about the data of the one-dimensional flow, and about the mean of its loss: F10, E3, E16."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np

from mathdnn_jax.claims.chance import Effect, check_unbiased
from mathdnn_jax.claims.claim import claim
from mathdnn_jax.claims.evidence import check_equal, seeds
from mathdnn_jax.recipes.mixture_cdf import MODES, three_gaussians


@claim(
    "F10.data",
    "n, n and num − 2n numbers, where n = ⌊num/3⌋, are num numbers, a third for each mode",
    source="course 002, P2; erratum E3",
    num=st.integers(3, 5000),
    seed=seeds,
)
def three_even_parts(num: int, seed: int) -> list[Effect]:
    """Count all numbers, and compare the mean of each part with its mode's: 3 statistics, exactly normal."""
    drawn = three_gaussians(np.random.default_rng(seed), num).astype(np.float64)
    check_equal("number of draws", len(drawn), num, 0.0)
    third = num // 3
    parts = np.split(drawn, [third, 2 * third])
    means, deviations = (np.array(column) for column in zip(*MODES, strict=True))
    errors = deviations / np.sqrt([len(part) for part in parts])
    # The draws are float32.
    rounded = np.finfo(np.float32).eps * 4
    return [check_unbiased("means of the parts", [part.mean() for part in parts], errors + rounded, means)]


@claim(
    "E3.count",
    "n, n and num − n numbers, where n = ⌊num/3⌋, are num numbers, a third for each mode",
    source="course 002, P2; erratum E3",
    verdict="refuted",
    num=st.integers(3, 5000),
    seed=seeds,
)
def parts_of_three(num: int, seed: int) -> None:
    """Draw this data set, in which the last mode has twice its share."""
    drawn = three_gaussians(np.random.default_rng(seed), num, num - num // 3)
    if len(drawn) != num:
        raise AssertionError(f"{len(drawn):,} numbers are drawn, although {num:,} were asked for")


@claim(
    "E16.mean_of_means",
    "the mean of the batches' mean losses is the mean loss",
    source="course 002, P2; erratum E16",
    verdict="refuted",
    losses=st.lists(st.integers(0, 9), min_size=2, max_size=30),
    batch_size=st.integers(1, 10),
)
def mean_of_batch_means(losses: list[int], batch_size: int) -> None:
    """Compare both; an example of a smaller last batch counts more."""
    batches = [losses[k : k + batch_size] for k in range(0, len(losses), batch_size)]
    by_batches, mean = np.mean([np.mean(batch) for batch in batches]), np.mean(losses)
    if abs(by_batches - mean) > 1e-6:
        weight = batch_size / len(batches[-1])
        raise AssertionError(
            f"the mean of {len(batches)} means is {by_batches:.6g}, the mean of {len(losses)} losses {mean:.6g}: each "
            f"of the last {len(batches[-1])} counts {weight:g} times as much as another one; in the course, whose "
            f"last batch of {6666 % 128} follows {6666 // 128} of 128, it is {128 / (6666 % 128):g} times"
        )


@claim(
    "E16.variances",
    "the array mu_var = (−1, 0.25, 0.2, 0.25, 1.5, 0.25) holds means and variances, as its name says",
    source="course 002, P2; erratum E16",
    verdict="refuted",
    sampled=True,
)
def array_of_variances(seed: int) -> None:
    """Draw numbers with these parameters, and compare the variance of each mode with 0.25: 3 statistics.

    For N normal numbers of variance v the sample variance has the standard error v √(2/(N − 1)).
    """
    count = 30_000
    parts = np.split(three_gaussians(np.random.default_rng(seed), count).astype(np.float64), 3)
    error = 0.25 * np.sqrt(2 / (count // 3 - 1))
    check_unbiased("variance of each mode", [part.var(ddof=1) for part in parts], error, 0.25)
