"""How claims about random draws are decided: by statistics that a correct program exceeds with a known probability.

All Monte-Carlo claims together raise a false alarm with a probability below 1e-6 in a run of all claims. They compare
fewer than MOST_STATISTICS means with the truth, each of thousands of draws or more. A mean may be BOUND standard errors
away from the truth; a normal variable is farther away with probability 8.0e-11, which makes less than 4e-8 in all. The
rest allows for means of this many draws not being quite normal. All draws follow from the seed of the run, so that a
claim that passes once passes every time with that seed, until the code or JAX's random numbers change.

A bound that is never exceeded says little about wrong programs, so each of these claims also states its power: the
error of a mean that it would find with probability FOUND, which is BOUND + 2.33 standard errors.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import scipy.stats

from mathdnn_jax.claims.evidence import worst_entry

BOUND = 6.5
"""Number of standard errors by which a mean may miss the truth."""

MOST_STATISTICS = 400
"""Upper bound on the number of statistics that the claims compute in one run."""

FOUND = 0.99
"""The probability with which an effect of the stated size is found."""

REACH = BOUND + float(scipy.stats.norm.ppf(FOUND))
"""The number of standard errors of such an effect."""


class Effect(NamedTuple):
    """What a Monte-Carlo test would notice.

    - `what`: the quantity that is tested;
    - `size`: an error of this size in it is found with probability FOUND;
    - `relative`: the same divided by the quantity's true magnitude, infinite if that is 0. For an array it belongs to
      the entry for which it is least: a wrong factor of 1 + `relative` in the whole array is found.
    """

    what: str
    size: float
    relative: float


def effect_of(what: str, standard_error: Any, expected: Any) -> Effect:
    """The effect that a comparison by `check_unbiased` finds, in the entry in which it is least beside the truth."""
    error, truth = np.broadcast_arrays(np.asarray(standard_error, np.float64), np.abs(np.asarray(expected, np.float64)))
    sizes = np.ravel(REACH * error + rounding(truth))
    # A truth of 0 has no relative error.
    relative = np.divide(sizes, np.ravel(truth), out=np.full(sizes.shape, np.inf), where=np.ravel(truth) > 0)
    least = int(np.argmin(relative)) if np.isfinite(relative).any() else int(np.argmin(sizes))
    return Effect(what, float(sizes[least]), float(relative[least]))


def rounding(expected: Any) -> np.ndarray:
    """What rounding may add to a mean: a statistic that no draw changes has no standard error."""
    return np.asarray(1e-10 * (1 + np.abs(expected)))


def check_unbiased(what: str, mean: Any, standard_error: Any, expected: Any) -> Effect:
    """Check that means of draws are within BOUND standard errors of the truth.

    Returns:
        The error that would have been found.

    Raises:
        AssertionError: a mean is farther away, or NaN, or there is no mean to compare.
    """
    mean, error, expected = np.broadcast_arrays(*(np.asarray(x, np.float64) for x in (mean, standard_error, expected)))
    if not mean.size:
        raise AssertionError(f"{what}: got shape {mean.shape}, in which there is nothing to compare")
    excess = np.abs(mean - expected) / (BOUND * error + rounding(expected))
    # Written so that NaN fails.
    if not (excess <= 1).all():
        worst = worst_entry(excess)
        distance = abs(mean[worst] - expected[worst]) / max(error[worst], np.finfo(np.float64).tiny)
        raise AssertionError(
            f"{what}: got {mean[worst]:.9g} ± {error[worst]:.2g}, expected {expected[worst]:.9g}; that is "
            f"{distance:.1f} standard errors away, more than the {BOUND} allowed"
        )
    return effect_of(what, error, expected)


def mean_and_error(draws: Any) -> tuple[np.ndarray, np.ndarray]:
    """The mean over the first axis, and its standard error."""
    draws = np.asarray(draws)
    return draws.mean(0), draws.std(0, ddof=1) / np.sqrt(len(draws))
