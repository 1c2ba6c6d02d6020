from __future__ import annotations

import functools
import itertools
from collections.abc import Callable

import hypothesis.strategies as st
import jax
import numpy as np
import pytest
from hypothesis import given
from scipy import stats

from mathdnn_jax.errors import ConfigurationError, DomainError, SupportError
from mathdnn_jax.probability import ImportanceEstimate, gamblers_ruin, gamblers_ruin_exact
from mathdnn_jax.probability.gamblers_ruin import _winning_times, absorbed_mass

EXACT = 2.3883834506e-06
WIN, PROPOSAL = 18 / 37, round(0.55 * 2**16) / 2**16


@functools.cache
def compiled(num_trajectories: int) -> Callable[[jax.Array], ImportanceEstimate]:
    return jax.jit(lambda key: gamblers_ruin(key, num_trajectories))


def true_variance() -> float:
    """The variance of one weighted trajectory, by dynamic programming with the squared ratios."""
    second = absorbed_mass(100, 200, 600, WIN**2 / PROPOSAL, (1 - WIN) ** 2 / (1 - PROPOSAL))
    return second - EXACT**2


def test_the_exact_value_has_ten_digits() -> None:
    assert f"{gamblers_ruin_exact():.10e}" == f"{EXACT:.10e}"


@given(start=st.integers(1, 5), over=st.integers(1, 5), plays=st.integers(1, 9), win=st.floats(0.05, 0.95))
def test_the_programme_counts_every_path(start: int, over: int, plays: int, win: float) -> None:
    goal, total = start + over, 0.0
    for path in itertools.product((1, -1), repeat=plays):
        balance = start
        for step in path:
            balance += step
            if balance in (0, goal):
                break
        total += (balance == goal) * win ** path.count(1) * (1 - win) ** path.count(-1)
    assert gamblers_ruin_exact(start, goal, plays, win) == pytest.approx(total, rel=1e-12)


def test_without_a_limit_it_is_the_textbook_formula() -> None:
    odds = (1 - WIN) / WIN
    exact = gamblers_ruin_exact(5, 10, 5000, WIN)
    assert exact == pytest.approx((odds**5 - 1) / (odds**10 - 1), rel=1e-12)


def test_the_estimate_is_unbiased_with_the_true_variance() -> None:
    # 40,000 trajectories: a correct estimate is beyond 5.5 true standard errors with probability 4e-8, and the claimed
    # error is within 10 % of the true one (its own relative standard deviation is about 1 %).
    estimate = compiled(40_000)(jax.random.key(0))
    error = np.sqrt(true_variance() / 40_000)
    assert abs(float(estimate.mean) - EXACT) < 5.5 * error
    np.testing.assert_allclose(estimate.standard_error, error, rtol=0.1)
    np.testing.assert_allclose(np.exp(float(estimate.log_mean_weight)), float(estimate.mean), rtol=1e-5)
    assert 1000 < float(estimate.effective_sample_size) < 40_000
    assert "e-06 ± " in str(estimate)


@pytest.mark.long
def test_intervals_cover_as_they_should() -> None:
    # 200 intervals of nominal level 95 %. If the true level is 95 %, the count is outside [166, 200] with probability
    # 2e-8 (binomial); the target's band, 90 % to 99 %, is that of a longer check.
    estimates = jax.vmap(compiled(1000))(jax.random.split(jax.random.key(1), 200))
    covered = np.abs(np.asarray(estimates.mean) - EXACT) < 1.96 * np.asarray(estimates.standard_error)
    assert stats.binom.cdf(165, 200, 0.95) < 1e-7
    assert covered.sum() >= 166
    z = (np.asarray(estimates.mean) - EXACT) / np.sqrt(true_variance() / 1000)
    # The mean of 200 standardized estimates, and their spread: sd of the sample variance is about 10 %.
    assert abs(z.mean()) * np.sqrt(200) < 5.5
    assert 0.5 < z.std(ddof=1) < 1.6


@pytest.mark.parametrize("plays", [7, 8])
def test_other_games_odd_and_even(plays: int) -> None:
    exact = gamblers_ruin_exact(3, 5, plays, 0.4)
    estimate = jax.jit(
        lambda key: gamblers_ruin(
            key, 50_000, start=3, goal=5, max_plays=plays, win_probability=0.4, proposal_probability=0.5
        )
    )(jax.random.key(plays))
    assert abs(float(estimate.mean) - exact) < 5.5 * float(estimate.standard_error)
    assert float(estimate.standard_error) < 0.01 * exact
    np.testing.assert_array_less(gamblers_ruin_exact(3, 5, 6, 0.4), gamblers_ruin_exact(3, 5, 8, 0.4))


def test_the_number_of_trajectories_need_not_fill_the_chunks() -> None:
    for count in (2, 874):
        values = compiled(count)(jax.random.key(2))
        assert np.isfinite(float(values.mean))


def test_memory_grows_by_some_bytes_a_trajectory() -> None:
    def temporary(count: int) -> int:
        analysis = compiled(count).lower(jax.random.key(0)).compile().memory_analysis()  # type: ignore[attr-defined]
        return int(analysis.temp_size_in_bytes)

    few, many = temporary(40_960), temporary(409_600)
    assert (many - few) / (409_600 - 40_960) < 20
    assert few < 8e6


def test_mistakes_are_refused() -> None:
    key = jax.random.key(0)
    for proposal, verb in ((0.0, "wins"), (1.0, "loses"), (1e-9, "wins")):
        with pytest.raises(SupportError, match=f"never {verb}"):
            gamblers_ruin(key, 10, proposal_probability=proposal)
    for proposal in (1.2, -0.1, float("nan")):
        with pytest.raises(DomainError, match="the proposal is"):
            gamblers_ruin(key, 10, proposal_probability=proposal)
    for win in (0.0, 1.0, 1.5, float("nan")):
        with pytest.raises(DomainError, match="winning a play"):
            gamblers_ruin(key, 10, win_probability=win)
        with pytest.raises(DomainError, match="winning a play"):
            gamblers_ruin_exact(win_probability=win)
    with pytest.raises(ConfigurationError, match="given start 0, goal 200"):
        gamblers_ruin_exact(0)
    with pytest.raises(ConfigurationError, match="goal 50, 600 plays"):
        gamblers_ruin(key, 10, goal=50)
    with pytest.raises(ConfigurationError, match="0 plays"):
        gamblers_ruin(key, 10, max_plays=0)
    with pytest.raises(ConfigurationError, match="at least two trajectories, given 1"):
        gamblers_ruin(key, 1)


def played(wins: np.ndarray, start: int, goal: int) -> np.ndarray:
    """The play in which each gambler reaches the goal, counted from 1, or 0; `wins` (plays, gamblers)."""
    balance, times = np.full(wins.shape[1], start), np.zeros(wins.shape[1], int)
    for play, won in enumerate(wins, start=1):
        playing = (balance > 0) & (balance < goal)
        balance = np.where(playing, balance + np.where(won, 1, -1), balance)
        times = np.where(playing & (balance == goal), play, times)
    return times


def test_a_lot_on_the_threshold_loses() -> None:
    """Of the 2¹⁶ lots exactly `threshold` win, so that the weights are those of the proposal: 0, …, threshold − 1."""
    key, count, start, goal, plays = jax.random.key(4), 6, 3, 6, 9
    words = np.asarray(jax.random.bits(key, (5, count), np.uint32))
    lots = np.stack([words >> 16, words & 0xFFFF], 1).reshape(-1, count)[:plays].astype(int)
    decided = 0
    for threshold in np.unique(lots[:3]):  # each of these lots is itself on the boundary
        times = _winning_times(key, count, start, goal, plays, int(threshold))
        np.testing.assert_array_equal(times, played(lots < threshold, start, goal))
        decided += not np.array_equal(times, played(lots <= threshold, start, goal))
    assert decided  # in some of these games the lot on the threshold decided
