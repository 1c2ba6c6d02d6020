"""Claims about the GAN whose two kinds of error have different weights: G1, E17."""

from __future__ import annotations

import functools
import math
from typing import Any

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np

from mathdnn_jax.bijectors import Params
from mathdnn_jax.claims.claim import claim
from mathdnn_jax.claims.evidence import EPS, check_equal, seeds
from mathdnn_jax.generative import dense_discriminator, dense_generator, gan
from mathdnn_jax.probability import FDivergence, discriminator_value, f_divergence, optimal_discriminator

CELLS, EVENTS = 4, 24

weights = st.floats(-3, 3).map(lambda power: 10.0**power)
ratios = st.floats(-6, 6).map(lambda power: 10.0**power)


def _size(weight: float, *us: float) -> float:
    """The sum of the magnitudes of f's terms."""
    return float(
        f_divergence(weight).constant + sum(weight * math.log1p(u / weight) + u * math.log1p(weight / u) for u in us)
    )


def _formula(u: Any, weight: float) -> np.ndarray:
    """The generator function f exactly as the course writes it."""
    u = np.asarray(u)
    terms = u * np.log(u / (u + weight)) + weight * np.log(weight / (weight + u))
    return np.asarray(terms + (1 + weight) * np.log(1 + weight) - weight * np.log(weight))


@claim(
    "G1.convex",
    "f(u) = u log(u/(u+λ)) + λ log(λ/(λ+u)) + (1+λ) log(1+λ) − λ log λ is convex, and f(1) = 0",
    source="course 000, Q5",
    weight=weights,
    a=ratios,
    b=ratios,
    share=st.floats(0, 1),
)
def divergence_is_convex(weight: float, a: float, b: float, share: float) -> None:
    """Compare f with its chord between two points; by autodiff the second derivative is λ / (u (u + λ)) > 0."""
    made: FDivergence = f_divergence(weight)
    between = share * a + (1 - share) * b
    at_a, at_b, at_between, at_one = made.function(jnp.array([a, b, between, 1.0])).tolist()
    rounding = 64 * EPS * _size(weight, a, b)
    check_equal("f(1)", at_one, 0.0, 0.0)
    # In the course's form the terms of the constant cancel, and a quotient near 1 is rounded before its logarithm.
    cancelling = 16 * EPS * ((1 + weight) * (math.log1p(weight) + abs(math.log(weight))) + a + weight)
    check_equal("f(a) against the course's formula", at_a, _formula(a, weight), rounding + cancelling)
    if not at_between <= share * at_a + (1 - share) * at_b + rounding:
        raise AssertionError(f"f is {at_between:.12g}, above its chord {share * at_a + (1 - share) * at_b:.12g}")
    slope, curvature = (float(part) for part in jax.jvp(jax.grad(made.function), (jnp.asarray(a),), (jnp.ones(()),)))
    check_equal("f′ over log(u/(u+λ))", slope / -math.log1p(weight / a), 1.0, 64 * EPS)
    check_equal("f″ over λ/(u (u+λ))", curvature * a * (a / weight + 1), 1.0, 64 * EPS)


@claim(
    "G1.conjugate",
    "f*(t) = sup_u (t u − f(u)): f(u) + f*(t) ≥ t u, with equality for t = f′(u)",
    source="course 000, Q5",
    weight=weights,
    u=ratios,
    t=st.floats(-20, -1e-3),
)
def conjugate_of_the_divergence(weight: float, u: float, t: float) -> None:
    """Check the inequality for any t, and the equality for the t at which the two sides touch."""
    made = f_divergence(weight)
    value, slope = float(made.function(u)), float(made.derivative(u))
    other, touching = float(made.conjugate(t)), float(made.conjugate(slope))
    rounding = 64 * EPS * (_size(weight, u) + abs(t * u) + abs(weight * math.log(-math.expm1(t))))
    if not value + other >= t * u - rounding:
        raise AssertionError(f"f(u) + f*(t) is {value + other:.12g}, below t u = {t * u:.12g}")
    # An error of ε |t| in t becomes one of ε |t| u in f*, whose derivative there is u.
    check_equal("f(u) + f*(f′(u))", value + touching, slope * u, 64 * EPS * (_size(weight, u) + abs(slope * u)))


@claim(
    "G1.domain",
    "f(0) = (1+λ) log(1+λ) − λ log λ, the limit of f at 0, and f(u) = ∞ for u < 0",
    source="course 000, Q5",
    weight=weights,
    u=st.floats(-1e6, -1e-300),
)
def domain_of_the_divergence(weight: float, u: float) -> None:
    """Evaluate f at 0, just above it and at any negative number."""
    made = f_divergence(weight)
    at_zero, near, below = (float(made.function(point)) for point in (0.0, 1e-300, u))
    # The difference of the logarithms cancels for a large weight.
    expected = math.log1p(weight) + weight * (math.log1p(weight) - math.log(weight))
    bound = 16 * EPS * ((1 + weight) * (math.log1p(weight) + abs(math.log(weight))))
    check_equal("f(0)", at_zero, expected, bound)
    check_equal("f(1e-300)", near, expected, bound)
    if below != math.inf:
        raise AssertionError(f"f({u:g}) is {below}")


@claim(
    "E17.maximum",
    "the supremum of E_p[log D] + λ E_q[log(1 − D)] over D with values in (0, 1) is a maximum, attained by p/(p + λ q)",
    source="course 000, Q5; erratum E17",
    verdict="refuted",
    p=st.lists(st.integers(0, 3), min_size=2, max_size=2).filter(any),
    q=st.lists(st.integers(0, 3), min_size=2, max_size=2).filter(any),
    weight=st.sampled_from([0.5, 1.0, 2.0]),
)
def supremum_is_attained(p: list[int], q: list[int], weight: float) -> None:
    """Look at p/(p + λ q) where one density vanishes, and at values of D that come nearer and nearer to it."""
    p_cells, q_cells = np.array(p) / sum(p), np.array(q) / sum(q)
    best = np.asarray(optimal_discriminator(p_cells, q_cells, weight))
    if ((best > 0) & (best < 1)).all():
        return
    supremum = float(discriminator_value(best, p_cells, q_cells, weight, 1.0))
    gaps = np.array([[1e-1], [1e-2], [1e-4], [1e-8]])
    nearer = discriminator_value(np.clip(best, gaps, 1 - gaps), p_cells, q_cells, weight, 1.0, axis=-1).tolist()
    if not (np.diff([*nearer, supremum]) > 0).all():
        raise ArithmeticError(f"the values {nearer} do not rise to {supremum}")
    raise AssertionError(
        f"for p = {p_cells.tolist()}, q = {q_cells.tolist()}, λ = {weight:g} the supremum {supremum:.9g} needs D = "
        f"{best.tolist()}; within 1e-1, 1e-2, 1e-4 and 1e-8 of 0 and 1 the best values are {nearer}, each larger"
    )


def _densities(seed: int) -> tuple[np.ndarray, np.ndarray, float]:
    """A mixture of two Gaussians, another Gaussian, and the cell width of a grid whose sums are exact to 1e-12."""
    rng = np.random.default_rng(seed)
    cell = 0.02
    x = np.arange(-14, 14, cell)

    def normal(mean: float, scale: float) -> np.ndarray:
        return np.asarray(np.exp(-0.5 * ((x - mean) / scale) ** 2) / (scale * math.sqrt(2 * math.pi)))

    share = rng.uniform(0.1, 0.9)
    p = share * normal(rng.uniform(-3, 0), rng.uniform(0.3, 1)) + (1 - share) * normal(
        rng.uniform(0, 3), rng.uniform(0.3, 1)
    )
    # Far from its modes p would be a number below 1e-307, which processors round to 0.
    return np.maximum(p, 1e-200), normal(rng.uniform(-1, 1), rng.uniform(1, 1.5)), cell


@claim(
    "G1.value",
    "max_D E_p[log D] + λ E_q[log(1 − D)] = D_f(p ‖ q) − (1+λ) log(1+λ) + λ log λ, with D = p/(p + λ q)",
    source="course 000, Q5",
    weight=weights,
    seed=seeds,
)
def value_of_the_game(weight: float, seed: int) -> None:
    """Integrate both sides on a grid, to 1e-6; any other D falls short by a KL of Bernoullis, weighted by p + λ q."""
    p, q, cell = _densities(seed)
    best = np.asarray(optimal_discriminator(p, q, weight))
    check_equal("D (p + λ q) over p", best * (p + weight * q) / p, 1.0, 16 * EPS)
    value = float(discriminator_value(best, p, q, weight, cell))
    constant = (1 + weight) * math.log1p(weight) - weight * math.log(weight)
    direct = float((q * _formula(p / q, weight)).sum() * cell)
    check_equal("D_f against the integral of q f(p/q)", f_divergence(weight).divergence(p, q, cell), direct, 1e-6)
    check_equal("value of the game", value, direct - constant, 1e-6)
    rng = np.random.default_rng((seed, 1))
    other = np.clip(best + rng.uniform(-1, 1, best.shape) * np.minimum(best, 1 - best) * 0.9, 1e-300, 1 - 1e-16)
    shortfall = p * np.log(best / other) + weight * q * (np.log1p(-best) - np.log1p(-other))
    worse = float(discriminator_value(other, p, q, weight, cell))
    check_equal("value of another D", worse, value - shortfall.sum() * cell, 64 * EPS * (1 + weight) * 40)
    if not worse < value:
        raise AssertionError(f"another D has the value {worse:.12g}, not below {value:.12g}")


@functools.cache
def _game(weight: float) -> tuple[Any, Any]:
    """Training and losses of a GAN on one-hot events whose discriminator has one logit for each cell."""
    made = {
        saturating: gan(
            (CELLS,),
            CELLS,
            generator=dense_generator(CELLS, (), "none"),
            discriminator=dense_discriminator(()),
            weight=weight,
            saturating=saturating,
        )
        for saturating in (False, True)
    }
    state: dict[str, Any] = {"generator": {}, "discriminator": {}}

    def params(logits: jax.Array) -> Params:
        zero = jnp.zeros(CELLS, logits.dtype)
        return {
            "generator": {"dense_0": {"kernel": jnp.eye(CELLS, dtype=logits.dtype), "bias": zero}},
            "discriminator": {"dense_0": {"kernel": logits[:, None], "bias": zero[:1]}},
        }

    def losses(logits: jax.Array, x: jax.Array, z: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        saturating, other = (made[kind].generator_loss(params(logits), state, z)[0] for kind in (True, False))
        return made[True].discriminator_loss(params(logits), state, x, z)[0], saturating, other

    def train(x: jax.Array, z: jax.Array) -> tuple[jax.Array, jax.Array]:
        loss = jax.grad(lambda logits: losses(logits, x, z)[0])

        def step(_: int, logits: jax.Array) -> jax.Array:
            # The loss is a sum over cells, and each summand is convex in its own logit.
            gradient, curvature = jax.jvp(loss, (logits,), (jnp.ones_like(logits),))
            return logits - jnp.clip(gradient / curvature, -1, 1)

        logits = jax.lax.fori_loop(0, 60, step, jnp.zeros(CELLS, x.dtype))
        events = jnp.eye(CELLS, dtype=x.dtype)
        return logits, jax.nn.sigmoid(made[True].discriminate(params(logits), state, events))

    return jax.jit(train), jax.jit(losses)


@claim(
    "G1.trained",
    "a discriminator on a grid, trained with the GAN's loss, reaches p/(p + λ q), and its loss "
    "(1+λ) log(1+λ) − λ log λ − D_f(p ‖ q)",
    source="course 000, Q5",
    weight=st.sampled_from([1e-3, 0.7, 1e3]),
    seed=seeds,
)
def trained_discriminator(weight: float, seed: int) -> None:
    """Train one logit for each cell by Newton's method, on events that fall into the cells with frequencies p and q."""
    train, losses = _game(weight)
    rng = np.random.default_rng(seed)
    counts = [1 + rng.multinomial(EVENTS - CELLS, rng.dirichlet(np.ones(CELLS))) for _ in range(2)]
    x, z = (np.eye(CELLS)[np.repeat(np.arange(CELLS), count)] for count in counts)
    p, q = (count / EVENTS for count in counts)
    logits, trained = train(x, z)
    best = np.asarray(optimal_discriminator(p, q, weight))
    check_equal("D over p/(p + λ q)", trained / best, 1.0, 1e-10)
    own, saturating, other = losses(logits, x, z)
    made = f_divergence(weight)
    bound = 1e-10 * (1 + weight)
    check_equal("discriminator's loss", own, made.constant - made.divergence(p, q, 1.0), bound)
    check_equal("saturating loss against λ E_q log(1 − D)", saturating, weight * (q @ np.log1p(-best)), bound)
    check_equal("non-saturating loss against −λ E_q log D", other, -weight * (q @ np.log(best)), bound)
