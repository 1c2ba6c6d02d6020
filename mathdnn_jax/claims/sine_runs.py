"""Claims about the course's own runs of P5, with its mistakes and without them: P5, E1, E10."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mathdnn_jax.claims.chance import Effect, check_unbiased
from mathdnn_jax.claims.claim import claim
from mathdnn_jax.claims.sine_mistakes import BATCH, STEP_SIZE

STEPS, RUNS = 500, 1000
PRINTED = {"score_function": (0.32686325907707214, 0.8322127461433411), "reparameterized": (0.32415113, 0.75268406)}
"""(μ, σ) as printed in the course."""

FAR = 5.0
"""A normal variable is that many deviations away with probability 5.7e-7."""


class Loop(NamedTuple):
    """A version of the course's loop: (a) by the score function, (b) reparameterised.

    - `divisor`: the power of σ by which (X − μ)² is divided in the score function's τ-part; 1 is erratum E1;
    - `new_mean`: whether the τ-part uses the μ that was just updated; True is erratum E11;
    - `factor`: the power of σ in the reparameterised τ-part; 0 is erratum E10.
    """

    estimator: str
    divisor: int = 2
    new_mean: bool = False
    factor: int = 1


def _step(loop: Loop, mean: jax.Array, log_scale: jax.Array, y: jax.Array) -> tuple[jax.Array, jax.Array]:
    """One step of a run, from the normal numbers y (BATCH,)."""
    scale = jnp.exp(log_scale)
    x = mean + scale * y
    if loop.estimator == "score_function":
        h = x * jnp.sin(x)
        moved = mean - STEP_SIZE * ((h * (x - mean)).mean() / scale**2 + mean - 1)
        deviation = x - (moved if loop.new_mean else mean)
        part = (h * (deviation**2 / scale**loop.divisor - 1)).mean()
    else:
        slope = jnp.sin(x) + x * jnp.cos(x)
        moved = mean - STEP_SIZE * (slope.mean() + mean - 1)
        part = (slope * y).mean() * scale**loop.factor
    return moved, log_scale - STEP_SIZE * (part + scale - 1)


@functools.cache
def ends(loop: Loop) -> Callable[[jax.Array], tuple[jax.Array, jax.Array]]:
    """The compiled function from a key to (μ, σ) at the end of RUNS runs from μ = 0, σ = 1."""

    def run(key: jax.Array) -> tuple[jax.Array, jax.Array]:
        def step(state: tuple[jax.Array, jax.Array], key: jax.Array) -> tuple[tuple[jax.Array, jax.Array], None]:
            draws = jax.random.normal(key, (RUNS, BATCH), jnp.float64)
            return jax.vmap(functools.partial(_step, loop))(*state, draws), None

        (mean, log_scale), _ = jax.lax.scan(step, (jnp.zeros(RUNS),) * 2, jax.random.split(key, STEPS))
        return mean, jnp.exp(log_scale)

    return jax.jit(run)


MISTAKEN = (Loop("score_function", divisor=1, new_mean=True), Loop("reparameterized", factor=0))


def _distances(loop: Loop, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The mean and the deviation of (μ, σ) at the end, and how many deviations the printed pair is away."""
    found = np.stack(ends(loop)(jax.random.key(seed)))
    mean, deviation = found.mean(1), found.std(1, ddof=1)
    return mean, deviation, np.abs(PRINTED[loop.estimator] - mean) / deviation


@claim(
    "P5.course_runs",
    "the pairs that the course prints after 500 steps, (0.327, 0.832) by (a) and (0.324, 0.753) by (b), come from its "
    "own loops, with errata E1 and E11 in (a) and E10 in (b), whose σ ends at 0.828 and 0.756 on average",
    source="course 003, P6; errata E1, E10, E11",
    sampled=True,
)
def course_runs(seed: int) -> list[Effect]:
    """Run each loop 1,000 times: 2 statistics. The averages are those of descent along the expected step."""
    effects = []
    for loop, average in zip(MISTAKEN, (0.8279, 0.7560), strict=True):
        mean, deviation, distances = _distances(loop, seed)
        if not (distances < FAR).all():
            raise AssertionError(f"{loop.estimator}: the printed pair is {distances} deviations from {mean}")
        # The average of nonlinear steps is not exactly the end of the average step.
        error = np.hypot(deviation[1] / np.sqrt(RUNS), 5e-5)
        effects.append(check_unbiased(f"average σ, {loop.estimator}", mean[1], error, average))
    return effects


def _judge(loop: Loop, seed: int) -> None:
    mean, deviation, distances = _distances(loop, seed)
    if distances.max() > FAR:
        printed = PRINTED[loop.estimator]
        raise AssertionError(
            f"the course prints μ = {printed[0]:.4f}, σ = {printed[1]:.4f}; the right loop ends at σ = {mean[1]:.4f} ± "
            f"{deviation[1]:.4f} (of one run), {distances[1]:.1f} deviations away"
        )


@claim(
    "E1.run",
    "the pair (0.327, 0.832) that the course prints may come from 500 steps with the right score-function gradient",
    source="course 003, P6(a); erratum E1",
    verdict="refuted",
    sampled=True,
)
def score_function_run(seed: int) -> None:
    """Run the right loop 1,000 times."""
    _judge(Loop("score_function"), seed)


@claim(
    "E10.run",
    "the pair (0.324, 0.753) that the course prints may come from 500 steps with the right reparameterised gradient",
    source="course 003, P6(b); erratum E10",
    verdict="refuted",
    sampled=True,
)
def reparameterized_run(seed: int) -> None:
    """Run the right loop 1,000 times."""
    _judge(Loop("reparameterized"), seed)
