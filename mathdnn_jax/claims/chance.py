"""How a statement about random draws is decided: by a statistic that a correct program exceeds with known chance.

All Monte-Carlo claims together raise a false alarm with a probability below 1e-6. They compare fewer than
MOST_STATISTICS means with the truth, each of thousands of draws or more with a fixed key, and a mean may lie BOUND of
its standard errors away, which a normal variable does with probability 8.0e-11: below 2e-8 in all. The rest is left for
what means of so many draws lack of being normal. The keys being fixed, what passes once passes each time, until the
code or JAX's random numbers change; then the chance is taken once more.
"""

from __future__ import annotations

from typing import Any

import numpy as np

BOUND = 6.5
"""Standard errors."""

MOST_STATISTICS = 200
"""How many statistics the claims compute, at most."""


def check_unbiased(what: str, mean: Any, standard_error: Any, expected: Any) -> None:
    """Check that means of draws are within BOUND standard errors of the truth, else raise AssertionError with them."""
    mean, error, expected = np.broadcast_arrays(*(np.asarray(x, np.float64) for x in (mean, standard_error, expected)))
    # What no draw changes has no standard error, and is exact up to rounding.
    allowed = BOUND * error + 1e-10 * (1 + np.abs(expected))
    excess = np.abs(mean - expected) / allowed
    # Written so that NaN fails.
    if not (excess <= 1).all():
        worst = np.unravel_index(np.argmax(np.where(np.isnan(excess), np.inf, excess)), excess.shape)
        distance = abs(mean[worst] - expected[worst]) / max(error[worst], np.finfo(np.float64).tiny)
        raise AssertionError(
            f"{what}: {mean[worst]:.9g} ± {error[worst]:.2g} against {expected[worst]:.9g}, {distance:.1f} standard "
            f"errors, at most {BOUND} by chance"
        )


def mean_and_error(draws: Any) -> tuple[np.ndarray, np.ndarray]:
    """The mean over the first axis, and its standard error."""
    draws = np.asarray(draws)
    return draws.mean(0), draws.std(0, ddof=1) / np.sqrt(len(draws))
