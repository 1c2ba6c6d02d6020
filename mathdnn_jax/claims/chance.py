"""How claims about random draws are decided: by statistics that a correct program exceeds with a known probability.

All Monte-Carlo claims together raise a false alarm with a probability below 1e-6. They compare fewer than
MOST_STATISTICS means with the truth, each of thousands of draws or more with a fixed key. A mean may be BOUND standard
errors away from the truth; a normal variable is farther away with probability 8.0e-11, which makes less than 2e-8 in
all. The rest allows for means of this many draws not being quite normal. Since the keys are fixed, a claim that passes
once passes every time, until the code or JAX's random numbers change; only then is the risk taken again.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from mathdnn_jax.claims.evidence import worst_entry

BOUND = 6.5
"""Number of standard errors by which a mean may miss the truth."""

MOST_STATISTICS = 200
"""Upper bound on the number of statistics that the claims compute."""


def check_unbiased(what: str, mean: Any, standard_error: Any, expected: Any) -> None:
    """Check that means of draws are within BOUND standard errors of the truth, else raise AssertionError with them."""
    mean, error, expected = np.broadcast_arrays(*(np.asarray(x, np.float64) for x in (mean, standard_error, expected)))
    # A statistic that no draw changes has no standard error, and is exact up to rounding.
    allowed = BOUND * error + 1e-10 * (1 + np.abs(expected))
    excess = np.abs(mean - expected) / allowed
    # Written so that NaN fails.
    if not (excess <= 1).all():
        worst = worst_entry(excess)
        distance = abs(mean[worst] - expected[worst]) / max(error[worst], np.finfo(np.float64).tiny)
        raise AssertionError(
            f"{what}: got {mean[worst]:.9g} ± {error[worst]:.2g}, expected {expected[worst]:.9g}; that is "
            f"{distance:.1f} standard errors away, more than the {BOUND} allowed"
        )


def mean_and_error(draws: Any) -> tuple[np.ndarray, np.ndarray]:
    """The mean over the first axis, and its standard error."""
    draws = np.asarray(draws)
    return draws.mean(0), draws.std(0, ddof=1) / np.sqrt(len(draws))
