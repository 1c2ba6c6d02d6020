"""Claims about the projection onto a box, and about ascending a density inside one: B2, F13, E2."""

from __future__ import annotations

import functools
from typing import Any

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import optax

from mathdnn_jax.bijectors import Params
from mathdnn_jax.claims.claim import claim
from mathdnn_jax.claims.evidence import EPS, check_equal, seeds
from mathdnn_jax.claims.map_evidence import random_params, scales
from mathdnn_jax.flows import Flow, nice
from mathdnn_jax.tasks import corrupt, inpaint, projected_ascent

DIM, EVENTS, STEPS = 6, 3, 12
HALVINGS = 3
"""Few, so that some of the greatest steps find no increase, and the event must stay where it is."""

SHAPE = (EVENTS, 2, DIM // 2)

numbers = st.floats(-10, 10, allow_subnormal=False)
lengths = st.one_of(st.just(0.0), st.floats(0, 5, allow_subnormal=False))
step_sizes = st.sampled_from([1e-2, 0.3, 10.0])
"""The greatest of them overshoot."""

_project = jax.jit(optax.projections.projection_box)


@claim(
    "B2.course",
    "the point of C = {x: x₁ = a, 0 ≤ x₂ ≤ 1} that is nearest to y is (a, min(max(y₂, 0), 1))",
    source="course 003, P2",
    a=numbers,
    y=st.tuples(numbers, numbers),
    share=st.floats(0, 1),
)
def box_with_a_fixed_coordinate(a: float, y: tuple[float, float], share: float) -> None:
    """Compare the distance of this point with those of 1,001 points of C and a random one, and the library with it.

    ‖x − y‖² is quadratic in x₂: the nearest point is the one p for which it is at least ‖p − y‖² + (x₂ − p₂)².
    """
    nearest = np.array([a, min(max(y[1], 0.0), 1.0)])
    if not 0 <= nearest[1] <= 1:
        raise AssertionError(f"{nearest.tolist()} is not in C")
    others = np.append(np.linspace(0, 1, 1001), share)
    points = np.column_stack([np.full(len(others), a), others])
    squares, least = np.square(points - y).sum(1), np.square(nearest - y).sum()
    excess = squares - least - np.square(others - nearest[1])
    if not (excess >= -16 * EPS * (1 + squares)).all():
        raise AssertionError(f"{points[excess.argmin()].tolist()} is nearer to {y} than {nearest.tolist()}")
    found = _project(np.array(y), np.array([a, 0.0]), np.array([a, 1.0]))
    check_equal("the library's projection", found, nearest, 0.0)


@claim(
    "B2.box",
    "clipping each entry projects onto a box, even if some coordinates are fixed: (y − Πy)·(x − Πy) ≤ 0 for every x in "
    "it, which makes Πy the nearest point",
    source="course 003, P2",
    sides=st.lists(st.tuples(numbers, lengths, numbers), min_size=3, max_size=3),
)
def box_projection(sides: list[tuple[float, float, float]]) -> None:
    """Take the x for which the product is greatest, a vertex; a side of length 0 is a fixed coordinate."""
    lower, length, y = (np.array(part) for part in zip(*sides, strict=True))
    upper = lower + length
    nearest = np.asarray(_project(y, lower, upper))
    if not ((lower <= nearest) & (nearest <= upper)).all():
        raise AssertionError(f"{nearest.tolist()} is outside the box")
    away = y - nearest
    greatest = np.maximum(away * (lower - nearest), away * (upper - nearest)).sum()
    if greatest > 0:
        raise AssertionError(
            f"(y − Πy)·(x − Πy) is {greatest:.3g} for some x, so that a point is nearer than {nearest.tolist()}"
        )


@functools.cache
def _flow() -> Flow:
    return nice(DIM, width=4, depth=1, couplings=2)


def _case(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Events with entries in [0, 1], some at the ends, and which entries of each event are missing."""
    rng = np.random.default_rng((seed, 1))
    events = np.clip(rng.uniform(-0.3, 1.3, SHAPE), 0, 1)
    return events, rng.random(SHAPE) < rng.uniform(0.2, 0.9, (EVENTS, 1, 1))


@claim(
    "F13.white",
    "the missing pixels start at 1 (white), and the known ones as they are",
    source="course 003, P3",
    seed=seeds,
    grey=st.booleans(),
)
def missing_pixels_start_white(seed: int, grey: bool) -> None:
    """Corrupt three images, bytes or floats, and take no step of inpainting, whose result is then its start."""
    events, missing = _case(seed)
    images = np.round(255 * events).astype(np.uint8) if grey else events.astype(np.float32)
    start = corrupt(images, missing)
    known = (images / np.float32(255) if grey else images)[~missing]
    check_equal("missing pixels", start[missing], 1.0, 0.0)
    check_equal("known pixels", start[~missing], known, 0.0)
    params = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), random_params(_flow().bijector, seed))
    check_equal("start of inpainting", inpaint(_flow(), params, start, missing, steps=0).images, start, 0.0)


@claim(
    "F13.kept",
    "inpainting keeps the known pixels bit for bit, and the others stay in [0, 1]",
    source="course 003, P3",
    seed=seeds,
    scale=scales,
    settings=st.sampled_from([(10.0, 0), (0.3, 8)]),
)
def known_pixels_are_kept(seed: int, scale: float, settings: tuple[float, int]) -> None:
    """Inpaint three images, each with its own mask, in float32 and with steps of 10, or of 0.3 with backtracking."""
    step_size, halvings = settings
    params = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), random_params(_flow().bijector, seed, scale))
    events, missing = _case(seed)
    images = events.astype(np.float32)
    filled = inpaint(_flow(), params, images, missing, steps=STEPS, step_size=step_size, halvings=halvings)
    kept = filled.images[~missing].view(np.uint32) == images[~missing].view(np.uint32)
    if not kept.all():
        raise AssertionError(f"{(~kept).sum()} of {kept.size} known pixels changed")
    if not ((filled.images >= 0) & (filled.images <= 1)).all():
        raise AssertionError(f"pixels range from {filled.images.min():.6g} to {filled.images.max():.6g}")


@functools.cache
def _climb(halvings: int) -> Any:
    def run(params: Params, x: jax.Array, missing: jax.Array, step_size: jax.Array) -> Any:
        optimizer = optax.sgd(lambda _: step_size)
        return projected_ascent(
            _flow().log_prob, params, x, missing, optimizer=optimizer, steps=STEPS, halvings=halvings
        )

    return jax.jit(run)


@claim(
    "F13.monotone",
    "with backtracking, log p never decreases, whatever the step size",
    source="course 003, P3",
    seed=seeds,
    scale=scales,
    step_size=step_sizes,
)
def backtracking_never_descends(seed: int, scale: float, step_size: float) -> None:
    """Follow log p; its first and last values are those of the events at the start and at the end."""
    params = random_params(_flow().bijector, seed, scale)
    events, missing = (part.reshape(EVENTS, DIM) for part in _case(seed))
    end, history = (np.asarray(part) for part in _climb(HALVINGS)(params, events, missing, jnp.asarray(step_size)))
    if not (np.diff(history, axis=0) >= 0).all():
        raise AssertionError(f"log p changes by {np.diff(history, axis=0).min():.3g} in a step")
    log_prob = _log_prob(params, jnp.stack([events, end]))
    size = 1 + np.abs(log_prob).max()
    check_equal("log p before the first step and after the last", history[[0, -1]], log_prob, 256 * EPS * size)


@functools.cache
def _compiled_log_prob() -> Any:
    return jax.jit(_flow().log_prob)


def _log_prob(params: Params, x: jax.Array) -> np.ndarray:
    return np.asarray(_compiled_log_prob()(params, x))


def _bowl(params: tuple[jax.Array, jax.Array], x: jax.Array) -> jax.Array:
    """The concave function −½ ‖A (x − c)‖², a Gaussian's log-density up to a constant."""
    matrix, centre = params
    return -0.5 * jnp.square((x - centre) @ matrix.T).sum(-1)


def _bowl_case(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """A matrix, a centre inside or outside the box, a start inside it, and a step below 1 over the curvature."""
    rng = np.random.default_rng((seed, 2))
    matrix = rng.normal(size=(3, 3))
    curvature = float(np.linalg.eigvalsh(matrix.T @ matrix).max())
    return matrix, rng.uniform(-0.2, 1.2, 3), rng.uniform(0, 1, 3), rng.uniform(0.1, 1) / curvature


@functools.cache
def _bowl_climb(steps: int, accumulating: bool) -> Any:
    """Projected ascent of the bowl, or the course's loop, each step of which adds all gradients so far."""

    def run(params: tuple[jax.Array, jax.Array], x: jax.Array, missing: jax.Array, step_size: jax.Array) -> jax.Array:
        memory = [optax.trace(decay=1.0)] if accumulating else []
        optimizer = optax.chain(*memory, optax.scale(-step_size))
        return projected_ascent(_bowl, params, x, missing, optimizer=optimizer, steps=steps)[0]

    return jax.jit(run)


MISSING = np.array([True, True, False])


@claim(
    "F13.ascent",
    "the trajectory is x ← Π(x + η ∇ log p(x)), where Π is the projection of B2 with the known pixels fixed",
    source="course 003, P2 and P3",
    steps=st.sampled_from([1, 3, 200]),
    seed=seeds,
)
def trajectory(steps: int, seed: int) -> None:
    """Compare with ascent in NumPy on a Gaussian's log-density, after 1, 3 and 200 steps."""
    matrix, centre, start, step_size = _bowl_case(seed)
    found = _bowl_climb(steps, False)((matrix, centre), start, MISSING, step_size)
    x = start
    for _ in range(steps):
        x = np.clip(
            x - step_size * matrix.T @ (matrix @ (x - centre)), np.where(MISSING, 0, x), np.where(MISSING, 1, x)
        )
    # The step is below 1 over the curvature, so errors do not grow, and each step adds a few roundings.
    bound = 16 * EPS * steps * (1 + step_size * np.linalg.norm(matrix, 2) ** 2 * np.abs(x - centre).sum())
    check_equal("x after all steps", found, x, bound)


@claim(
    "E2.accumulating",
    "the course's loop, which never clears its gradient, is projected gradient ascent",
    source="course 003, P3; erratum E2",
    verdict="refuted",
    steps=st.integers(1, 3),
    seed=seeds,
)
def accumulating_is_projected_ascent(steps: int, seed: int) -> None:
    """Run both from the same start on a Gaussian's log-density; they differ from the second step on."""
    matrix, centre, start, step_size = _bowl_case(seed)
    right, theirs = (
        np.asarray(_bowl_climb(steps, accumulating)((matrix, centre), start, MISSING, step_size))
        for accumulating in (False, True)
    )
    if np.abs(right - theirs).max() > 1e-6:
        raise AssertionError(
            f"after {steps} steps the course's loop is at {theirs.tolist()}, projected ascent at {right.tolist()}"
        )
