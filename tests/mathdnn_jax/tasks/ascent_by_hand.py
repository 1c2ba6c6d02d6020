"""Projected ascent on a concave quadratic, written out in NumPy, and the accumulating gradient of the course."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax

from mathdnn_jax.tasks.projected_ascent import LogProb, projected_ascent


def quadratic(params: tuple[jax.Array, jax.Array], x: jax.Array) -> jax.Array:
    """The concave −½ ‖A (x − c)‖² up to a constant."""
    matrix, centre = params
    return -0.5 * jnp.square((x - centre) @ matrix.T).sum(-1)


def climb(
    matrix: np.ndarray,
    centre: np.ndarray,
    x: np.ndarray,
    missing: np.ndarray,
    step_size: Callable[[int], float],
    momentum: float,
    steps: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Step v ← momentum v + ∇, x ← clip(x + step v) where missing; return the last x and the history of log p."""
    x, velocity, values = x.copy(), np.zeros_like(x), []
    for k in range(steps + 1):
        values.append(-0.5 * np.square((x - centre) @ matrix.T).sum(-1))
        if k == steps:
            break
        velocity = momentum * velocity - (x - centre) @ matrix.T @ matrix
        moved = np.minimum(np.maximum(x + step_size(k) * velocity, 0), 1)
        x = np.where(missing, moved, x)
    return x, np.array(values)


def climb_with_halvings(
    matrix: np.ndarray, centre: np.ndarray, x: np.ndarray, step_size: float, momentum: float, steps: int, halvings: int
) -> tuple[np.ndarray, np.ndarray, int]:
    """One event, all entries missing: take the first of s u, s u/2, … that rises by 1e-4 of its slope, or stay.

    Return the last x, the history of log p, and the number of halvings.
    """

    def value(x: np.ndarray) -> float:
        return float(-0.5 * np.square(matrix @ (x - centre)).sum())

    velocity, fraction, halved, values = np.zeros_like(x), 1.0, 0, [value(x)]
    for _ in range(steps):
        gradient = -matrix.T @ matrix @ (x - centre)
        velocity = momentum * velocity + gradient
        fraction = min(2 * fraction, 1.0)
        for attempt in range(halvings + 1):
            moved = np.clip(x + fraction * step_size * velocity, 0, 1)
            risen = value(moved) >= value(x) + 1e-4 * max(gradient @ (moved - x), 0.0)
            if risen or attempt == halvings:
                break
            fraction, halved = fraction / 2, halved + 1
        x = moved if risen else x
        values.append(value(x))
    return x, np.array(values), halved


def accumulating_ascent(
    log_prob: LogProb, params: object, x: jax.Array, missing: jax.Array, *, step_size: float, steps: int
) -> tuple[jax.Array, jax.Array]:
    """The loop of the course as it stands (erratum E2): every step adds all earlier gradients, like momentum 1."""
    optimizer = optax.chain(optax.trace(decay=1.0), optax.scale(-step_size))
    return projected_ascent(log_prob, params, x, missing, optimizer=optimizer, steps=steps)
