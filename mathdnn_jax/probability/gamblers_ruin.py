"""The gambler's ruin: the probability of reaching a goal before ruin, exactly and by importance sampling.

A gambler starts with `start`, wins or loses 1 in each play, and stops at 0, at `goal`, or after `max_plays` plays.

Source: course 003, P5.
"""

from __future__ import annotations

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np

from mathdnn_jax.errors import ConfigurationError, DomainError, SupportError
from mathdnn_jax.probability.importance import ImportanceEstimate, importance_estimate

WORDS_AT_A_TIME = 2**18
"""Number of random words, for two plays each, that are drawn at once: 1 MiB, the fastest size per play."""

RESOLUTION = 2**16
"""A play is decided by sixteen random bits."""


def gamblers_ruin_exact(
    start: int = 100, goal: int = 200, max_plays: int = 600, win_probability: float = 18 / 37
) -> float:
    """The probability of reaching the goal, by dynamic programming in float64.

    Raises:
        ConfigurationError, DomainError: As in `gamblers_ruin`.

    Example:
        >>> import mathdnn_jax as mj
        >>> f"{mj.probability.gamblers_ruin_exact():.10e}"  # the course's game
        '2.3883834506e-06'
    """
    _check_game(start, goal, max_plays, win_probability)
    return absorbed_mass(start, goal, max_plays, win_probability, 1 - win_probability)


def absorbed_mass(start: int, goal: int, max_plays: int, win: float, loss: float) -> float:
    """Σ win^wins · loss^losses over the paths that reach the goal: a probability if `win` and `loss` sum to 1.

    With p²/q and (1−p)²/(1−q) it is the second moment of an importance weight, from which the true variance of the
    estimate follows.
    """
    alive = np.zeros(goal + 1)
    alive[start] = 1.0
    reached = 0.0
    for _ in range(max_plays):
        following = np.zeros_like(alive)
        following[1:] += win * alive[:-1]
        following[:-1] += loss * alive[1:]
        reached += following[goal]
        following[0] = following[goal] = 0.0
        alive = following
    return float(reached)


def gamblers_ruin(
    key: jax.Array,
    num_trajectories: int = 3000,
    *,
    start: int = 100,
    goal: int = 200,
    max_plays: int = 600,
    win_probability: float = 18 / 37,
    proposal_probability: float = 0.55,
) -> ImportanceEstimate:
    """Estimate the probability of reaching the goal by importance sampling.

    The game is played with a better chance of winning, and each path is weighted by the ratio of its probabilities
    under the two games. A path that reaches the goal after T plays has won (T + goal − start)/2 of them, so the
    logarithm of its weight depends on T alone; all other paths have weight 0. The proposal is rounded to a multiple of
    2⁻¹⁶, and the weights are those of the rounded proposal, so the estimate is unbiased.

    The trajectories are played in chunks of 2¹⁸ random words (873 trajectories of 600 plays), and each takes eight
    bytes of memory afterwards. For speed, compile the function with the number of trajectories static.

    Returns:
        The estimate. Its `log_mean_weight` is the logarithm of its mean, and its `effective_sample_size` counts
        winning paths.

    Raises:
        ConfigurationError: 0 < start < goal does not hold, there are no plays, or fewer than two trajectories.
        DomainError: A probability is outside (0, 1).
        SupportError: The rounded proposal never wins or never loses.

    Source: course 003, P5.
    """
    _check_game(start, goal, max_plays, win_probability)
    if num_trajectories < 2:
        raise ConfigurationError(f"a standard error needs at least two trajectories, given {num_trajectories}")
    if not 0 <= proposal_probability <= 1:
        raise DomainError(f"a probability lies between 0 and 1; the proposal is {proposal_probability}")
    threshold = round(proposal_probability * RESOLUTION)
    if not 0 < threshold < RESOLUTION:
        raise SupportError(
            f"a proposal of {proposal_probability} never {'loses' if threshold else 'wins'}, but the game does: "
            "choose one in the interior of (0, 1)"
        )
    chunk = max(1, min(WORDS_AT_A_TIME // _words(max_plays), num_trajectories))
    keys = jax.random.split(key, -(-num_trajectories // chunk))
    times = _all_winning_times(keys, chunk, start, goal, max_plays, threshold)[:num_trajectories]
    proposal = threshold / RESOLUTION
    log_win, log_loss = math.log(win_probability / proposal), math.log1p(-win_probability) - math.log1p(-proposal)
    plays = times.astype(jnp.result_type(float))
    log_weights = plays * (log_win + log_loss) / 2 + (goal - start) * (log_win - log_loss) / 2
    log_weights = jnp.where(times > 0, log_weights, -jnp.inf)
    return importance_estimate(jnp.ones_like(log_weights), log_weights)


@functools.partial(jax.jit, static_argnums=(1, 2, 3, 4, 5))
def _all_winning_times(keys: jax.Array, count: int, start: int, goal: int, max_plays: int, threshold: int) -> jax.Array:
    """The winning times of `count` gamblers for each key, one key at a time."""
    times: jax.Array = jax.lax.map(lambda key: _winning_times(key, count, start, goal, max_plays, threshold), keys)
    return times.reshape(-1)


def _winning_times(key: jax.Array, count: int, start: int, goal: int, max_plays: int, threshold: int) -> jax.Array:
    """The number of plays after which each of `count` gamblers reached the goal; 0 for those who did not."""

    def two_plays(
        state: tuple[jax.Array, jax.Array], turn: tuple[jax.Array, jax.Array]
    ) -> tuple[tuple[jax.Array, jax.Array], None]:
        balance, time = state
        word, first = turn
        for play, lot in ((first, word >> 16), (first + 1, word & (RESOLUTION - 1))):
            playing = (balance > 0) & (balance < goal) & (play <= max_plays)
            balance = jnp.where(playing, balance + jnp.where(lot < threshold, 1, -1), balance)
            time = jnp.where(playing & (balance == goal), play, time)
        return (balance, time), None

    words = jax.random.bits(key, (_words(max_plays), count), jnp.uint32)
    firsts = 1 + 2 * jnp.arange(len(words), dtype=jnp.int32)
    state = (jnp.full(count, start, jnp.int32), jnp.zeros(count, jnp.int32))
    (_, time), _ = jax.lax.scan(two_plays, state, (words, firsts))
    return time


def _words(max_plays: int) -> int:
    return -(-max_plays // 2)


def _check_game(start: int, goal: int, max_plays: int, win_probability: float) -> None:
    if not 0 < start < goal or max_plays < 1:
        raise ConfigurationError(
            f"a game needs 0 < start < goal and at least one play; given start {start}, goal {goal}, {max_plays} plays"
        )
    if not 0 < win_probability < 1:
        raise DomainError(f"the probability of winning a play lies between 0 and 1, given {win_probability}")
