"""The gambler's ruin: the chance of reaching a goal before ruin, exactly and by importance sampling.

A gambler starts with `start`, wins or loses 1 at each play, and stops at 0, at `goal`, or after `max_plays`.

Source: seed 003 P5.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np

from mathdnn_jax.errors import ConfigurationError, DomainError, SupportError
from mathdnn_jax.probability.importance import ImportanceEstimate, importance_estimate

WORDS_AT_A_TIME = 2**18
"""Random words, of two plays each, that are drawn at once: 1 MiB. Fewer or more take longer each."""

RESOLUTION = 2**16
"""A play is decided by sixteen random bits."""


def gamblers_ruin_exact(
    start: int = 100, goal: int = 200, max_plays: int = 600, win_probability: float = 18 / 37
) -> float:
    """P(the goal is reached) by dynamic programming, in float64: 2.3883834506e-06 for the seed's game.

    Raises:
        ConfigurationError, DomainError: as `gamblers_ruin`.
    """
    _check_game(start, goal, max_plays, win_probability)
    return absorbed_mass(start, goal, max_plays, win_probability, 1 - win_probability)


def absorbed_mass(start: int, goal: int, max_plays: int, win: float, loss: float) -> float:
    """Σ win^wins · loss^losses over the paths that reach the goal: a probability where the two sum to 1.

    With p²/q and (1−p)²/(1−q) it is the second moment of an importance-sampling weight, so that the estimate's true
    variance is known.
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
    """P(the goal is reached) by playing with a better chance of winning and weighting each path by the ratio of laws.

    A path that ends at the goal after T plays has won (T + goal − start)/2 of them, so that the logarithm of its
    weight follows from T alone; any other path has weight 0. The proposal is rounded to a multiple of 2⁻¹⁶, and the
    weights are those of the rounded one, so that the estimate is unbiased. In the result `log_mean_weight` is the
    logarithm of the estimate, and `effective_sample_size` counts winning paths.

    Trajectories are played as many at a time as 2¹⁸ random words serve (873 of 600 plays), and eight bytes
    are kept of each. For speed, jit it with the number of trajectories static.

    Raises:
        ConfigurationError: not 0 < start < goal, no plays, or fewer than two trajectories.
        DomainError: a probability outside (0, 1).
        SupportError: a proposal that never wins or never loses, once rounded.

    Source: seed 003 P5.
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
            "choose one well inside (0, 1)"
        )
    chunk = max(1, min(WORDS_AT_A_TIME // _words(max_plays), num_trajectories))
    keys = jax.random.split(key, -(-num_trajectories // chunk))

    def play(chunk_key: jax.Array) -> jax.Array:
        return _winning_times(chunk_key, chunk, start, goal, max_plays, threshold)

    times = jax.lax.map(play, keys).reshape(-1)[:num_trajectories]
    proposal = threshold / RESOLUTION
    log_win, log_loss = math.log(win_probability / proposal), math.log1p(-win_probability) - math.log1p(-proposal)
    plays = times.astype(jnp.result_type(float))
    log_weights = plays * (log_win + log_loss) / 2 + (goal - start) * (log_win - log_loss) / 2
    log_weights = jnp.where(times > 0, log_weights, -jnp.inf)
    return importance_estimate(jnp.ones_like(log_weights), log_weights)


def _winning_times(key: jax.Array, count: int, start: int, goal: int, max_plays: int, threshold: int) -> jax.Array:
    """After how many plays each of `count` gamblers reached the goal; 0 for those who did not."""

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
            f"a game has 0 < start < goal and at least one play; given start {start}, goal {goal}, {max_plays} plays"
        )
    if not 0 < win_probability < 1:
        raise DomainError(f"the probability of winning a play lies between 0 and 1, given {win_probability}")
