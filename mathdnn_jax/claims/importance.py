"""Claims about importance sampling of the gambler's ruin: P4, E6."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np

from mathdnn_jax.claims.chance import Effect, check_unbiased
from mathdnn_jax.claims.claim import claim
from mathdnn_jax.claims.evidence import EPS, check_equal, seeds
from mathdnn_jax.errors import ConfigurationError
from mathdnn_jax.probability import ImportanceEstimate, gamblers_ruin, gamblers_ruin_exact
from mathdnn_jax.probability.gamblers_ruin import RESOLUTION, absorbed_mass

EXACT = 2.3883834506e-06
PROPOSAL = 0.55
TRAJECTORIES = 30_000


_run = jax.jit(lambda key: gamblers_ruin(key, TRAJECTORIES, proposal_probability=PROPOSAL))


@functools.lru_cache(1)
def _estimate(seed: int) -> ImportanceEstimate:
    estimate: ImportanceEstimate = _run(jax.random.key(seed))
    return estimate


def _feller(start: int, goal: int, max_plays: int, win: float) -> tuple[float, float]:
    """P(the goal is reached) as a sum of sines, and the sum of its terms' magnitudes; Feller, volume I, XIV.5."""
    plays = np.arange(1, max_plays + 1)[:, None]
    angles = np.pi * np.arange(1, goal) / goal
    # The chance of reaching the goal is that of the opponent's ruin, who starts with goal − start.
    away = goal - start
    waves = np.cos(angles) ** (plays - 1) * np.sin(angles) * np.sin(away * angles)
    front = (2 * math.sqrt(win * (1 - win))) ** plays * (win / (1 - win)) ** (away / 2) / goal
    return float((front * waves).sum()), float((front * np.abs(waves)).sum())


@claim(
    "P4.exact",
    "the dynamic program gives P(goal) = Σ_n 2ⁿ/a (pq)^(n/2) (p/q)^(z/2) Σ_ν cosⁿ⁻¹(πν/a) sin(πν/a) sin(πzν/a), "
    "z = a − start",
    source="course 003, P5; Feller, volume I, XIV.5",
    goal=st.integers(2, 30),
    share=st.floats(0, 1),
    max_plays=st.integers(1, 200),
    win=st.floats(0.05, 0.95),
)
def exact_probability(goal: int, share: float, max_plays: int, win: float) -> None:
    """Compare the dynamic program with the sum."""
    start = 1 + round(share * (goal - 2))
    expected, size = _feller(start, goal, max_plays, win)
    found = gamblers_ruin_exact(start, goal, max_plays, win)
    # The n-th power of a number loses n roundings; the dynamic program's terms are positive.
    check_equal("P(goal)", found, expected, 16 * EPS * max_plays * (size + found))


@claim(
    "P4.value",
    "the course's game (from 100 to 200, at most 600 plays, p = 18/37) is won with probability 2.3883834506e-06",
    source="course 003, P5",
)
def exact_value() -> None:
    """Compare the dynamic program with this number, to its last digit, and with Feller's sum."""
    found = gamblers_ruin_exact()
    check_equal("dynamic program", found, EXACT, 0.5e-16)
    expected, size = _feller(100, 200, 600, 18 / 37)
    check_equal("Feller's sum", expected, found, 16 * EPS * 600 * (size + found))


def _moment(power: int) -> float:
    """E[w^power] for the weight w of a path that is played with q, by the dynamic program with other steps."""
    win, proposal = 18 / 37, round(PROPOSAL * RESOLUTION) / RESOLUTION
    steps = (p**power / q ** (power - 1) for p, q in ((win, proposal), (1 - win, 1 - proposal)))
    return absorbed_mass(100, 200, 600, *steps)


@claim(
    "P4.estimate",
    "the weights of paths played with q = 0.55 have the mean P(goal), and the standard error is the weights' standard "
    "deviation over √N",
    source="course 003, P5",
    sampled=True,
)
def estimate_is_unbiased(seed: int) -> list[Effect]:
    """Compare 30,000 paths with the exact probability, and their standard error with the exact one: 2 statistics.

    The sample variance of N weights has the standard error √((μ₄ − σ⁴)/N), where μ₄ is the fourth central moment.
    """
    estimate = _estimate(seed)
    # In units of the truth, because the allowance for rounding is relative to 1.
    one, two, three, four = (_moment(power) / EXACT**power for power in range(1, 5))
    variance = two - one**2
    fourth = four - 4 * three * one + 6 * two * one**2 - 3 * one**4
    error = math.sqrt(variance / TRAJECTORIES)
    found = TRAJECTORIES * (float(estimate.standard_error) / EXACT) ** 2
    spread = math.sqrt((fourth - variance**2) / TRAJECTORIES)
    return [
        check_unbiased("estimate over the truth", float(estimate.mean) / EXACT, error, 1.0),
        check_unbiased("the weights' variance over the square of the truth", found, spread, variance),
    ]


@functools.cache
def _short_game(plays: int) -> Callable[[jax.Array], ImportanceEstimate]:
    settings = {"win_probability": 0.25, "proposal_probability": 0.5}
    return jax.jit(lambda key: gamblers_ruin(key, 1000, start=2, goal=2 + plays, max_plays=plays, **settings))


@claim(
    "P4.weights",
    "if only k wins in k plays reach the goal, the winning path has the weight (p/q)ᵏ, and every other path 0",
    source="course 003, P5",
    plays=st.integers(1, 2),
    seed=seeds,
)
def weights_of_paths(plays: int, seed: int) -> None:
    """Play 1,000 games with p = ¼ and q = ½: the mean is 2⁻ᵏ times the share of winning paths."""
    estimate = _short_game(plays)(jax.random.key(seed))
    wins = float(estimate.effective_sample_size)
    check_equal("number of winning paths", wins, round(wins), 1e-9)
    check_equal("mean times 2ᵏ N over the winning paths", float(estimate.mean) * 2**plays * 1000 / wins, 1.0, 64 * EPS)
    if not 0 < wins < 1000:
        raise AssertionError(f"{wins:g} of 1000 paths win, by {plays} wins in a row each")


@claim(
    "P4.printed",
    "an estimate is printed with all its digits, however small it is, and reads back as itself",
    source="course 003, P5; erratum E6",
    power=st.floats(-300, 300),
    mantissa=st.floats(1, 9.99),
    digits=st.integers(0, 12),
)
def printed_estimate(power: float, mantissa: float, digits: int) -> None:
    """Read back what is printed; a notation that would lose digits is refused."""
    mean = mantissa * 10.0**power
    estimate = ImportanceEstimate(jnp.asarray(mean), jnp.asarray(mean / 10), jnp.ones(()), jnp.zeros(()))
    printed, error = (float(part) for part in f"{estimate:.{digits}e}".split(" ± "))
    check_equal("estimate that is read back", printed / mean, 1.0, 0.5000001 * 10.0**-digits)
    check_equal("standard error that is read back", error / (mean / 10), 1.0, 0.5000001e-2)
    try:
        format(estimate, f".{digits}f")
    except ConfigurationError:
        return
    raise AssertionError(f"fixed notation is not refused, it prints {format(estimate, f'.{digits}f')}")


@claim(
    "E6.six_decimals",
    "six decimals show the estimate and its standard error",
    source="course 003, P5; erratum E6",
    verdict="refuted",
    sampled=True,
)
def six_decimals(seed: int) -> None:
    """Print an estimate from 30,000 paths as the course prints one from 3,000, and read it back."""
    estimate = _estimate(seed)
    mean, error = float(estimate.mean), float(estimate.standard_error)
    printed = f"{mean:.6f} ± {error:.6f}"
    read_mean, read_error = (float(part) for part in printed.split(" ± "))
    if abs(read_mean / mean - 1) > 0.01 or abs(read_error / error - 1) > 0.1:
        raise AssertionError(f"it prints {printed} for the estimate {estimate}; the exact value is {EXACT:.10e}")
