"""Gradient ascent on a density inside a box, with some entries held fixed."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from mathdnn_jax.bijectors import Params

LogProb = Callable[[Params, jax.Array], jax.Array]

SUFFICIENT = 1e-4
"""The fraction of the increase predicted by the slope that backtracking accepts as sufficient."""


class _Point(NamedTuple):
    x: jax.Array
    log_prob: jax.Array
    gradient: jax.Array


_Carry = tuple[_Point, tuple[jax.Array, jax.Array], jax.Array, optax.OptState]


def projected_ascent(
    log_prob: LogProb,
    params: Params,
    x: jax.Array,
    missing: jax.Array,
    *,
    optimizer: optax.GradientTransformation,
    steps: int,
    halvings: int = 0,
    keep_best: bool = False,
) -> tuple[jax.Array, jax.Array]:
    """x ← Π(x + u) on the missing entries, `steps` times, where u is the optimiser's update for the loss −log p(x).

    Π is the projection onto {y : 0 ≤ y ≤ 1, y = x where nothing is missing}, in closed form: missing entries are
    clipped, the others kept bit for bit. With `optax.sgd(η)` this is projected gradient ascent, x ← Π(x + η ∇log p(x)).
    The function is pure and runs one `lax.scan`. With optimisers that act entry by entry (SGD, momentum, Adam), the
    events of a batch do not influence each other.

    A fixed step may overshoot, so that log p falls. With `halvings` > 0, an event takes the first of s u, s u/2, …,
    s u/2^halvings for which log p rises by at least 1e-4 of the increase that its slope predicts (Armijo's rule along
    the projected path). If there is none, it stays where it is, so its log p never decreases. The fraction s is twice
    the last one tried in the previous step, but at most 1. A halving costs one more gradient of the batch, and happens
    only if some event needs it.

    Args:
        log_prob: (params, x) → log p(x) in nats, of the batch shape.
        params: its parameters.
        x: (*batch_shape, *event_shape) on [0, 1]; the values at the missing entries are the starting point.
        missing: boolean, of the shape of x or broadcast to it; True where an entry may change.
        optimizer: any optax optimiser, including its step size or schedule.
        steps: the number of steps.
        halvings: the maximal number of halvings of an update.
        keep_best: return, for each event, the x with the greatest log p that was seen, the first of equals, instead of
            the last x. The steps are the same.

    Returns:
        x after the last step (or the best x), and log p (steps + 1, *batch_shape) before the first step and after each.

    Source: course 003, P3, without its accumulating gradient (erratum E2), and P2 for the projection; Bertsekas, "On
    the Goldstein-Levitin-Polyak gradient projection method", 1976, for backtracking.
    """
    original, missing = x, jnp.broadcast_to(missing, x.shape)

    def at(x: jax.Array) -> _Point:
        value, pullback = jax.vjp(lambda events: log_prob(params, events), x)
        return _Point(x, value, pullback(jnp.ones_like(value))[0])

    def move(x: jax.Array, update: jax.Array) -> _Point:
        return at(jnp.where(missing, optax.projections.projection_box(x + update, 0.0, 1.0), original))

    def search(now: _Point, update: jax.Array, fraction: jax.Array) -> tuple[_Point, jax.Array]:
        def too_low(trial: _Point) -> jax.Array:
            slope = (now.gradient * (trial.x - now.x)).sum(tuple(range(now.log_prob.ndim, x.ndim)))
            # Momentum may point downhill, where no increase is predicted. Negated, so that a NaN is too low.
            return ~(trial.log_prob >= now.log_prob + SUFFICIENT * jnp.maximum(slope, jnp.zeros_like(slope)))

        def unfinished(carry: tuple[jax.Array, jax.Array, _Point]) -> jax.Array:
            count, _, trial = carry
            return (count < halvings) & too_low(trial).any()

        def halve(carry: tuple[jax.Array, jax.Array, _Point]) -> tuple[jax.Array, jax.Array, _Point]:
            count, fraction, trial = carry
            again = too_low(trial)
            fraction = jnp.where(again, fraction / 2, fraction)
            return count + 1, fraction, _choose(again, move(now.x, _per_event(fraction, update) * update), trial)

        first = move(now.x, _per_event(fraction, update) * update)
        _, fraction, last = jax.lax.while_loop(unfinished, halve, (jnp.int32(0), fraction, first))
        return _choose(too_low(last), now, last), fraction

    def step(carry: _Carry, _: None) -> tuple[_Carry, jax.Array]:
        now, best, fraction, state = carry
        update, state = optimizer.update(-now.gradient, state, now.x)
        if halvings:
            then, fraction = search(now, update, jnp.minimum(2 * fraction, jnp.ones_like(fraction)))
        else:
            then = move(now.x, update)
        if keep_best:
            better = then.log_prob > best[1]
            best = jnp.where(_per_event(better, then.x), then.x, best[0]), jnp.where(better, then.log_prob, best[1])
        return (then, best, fraction, state), then.log_prob

    start = at(x)
    carry = (start, (start.x, start.log_prob), jnp.ones_like(start.log_prob), optimizer.init(x))
    (end, best, _, _), history = jax.lax.scan(step, carry, length=steps)
    return best[0] if keep_best else end.x, jnp.concatenate([start.log_prob[None], history])


def _per_event(values: jax.Array, like: jax.Array) -> jax.Array:
    return values.reshape(*values.shape, *(1,) * (like.ndim - values.ndim))


def _choose(chosen: jax.Array, new: _Point, old: _Point) -> _Point:
    return _Point(*(jnp.where(_per_event(chosen, a), a, b) for a, b in zip(new, old, strict=True)))
