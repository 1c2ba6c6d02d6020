"""Claims about the Kullback–Leibler divergence of any distributions: P1, E13."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import hypothesis.strategies as st
import jax
import numpy as np

from mathdnn_jax.claims.claim import claim
from mathdnn_jax.claims.evidence import EPS, check_equal, seeds
from mathdnn_jax.probability import kl_divergence

CELLS = 6
concentrations = st.sampled_from([1.0, 0.05, 20.0])
"""Of a Dirichlet distribution: a small one puts nearly all mass on one cell, a large one makes two draws alike."""

_kl = jax.jit(kl_divergence, static_argnames="axis")


def _probabilities(rng: np.random.Generator, concentration: float, cells: int = CELLS) -> np.ndarray:
    # No cell is empty, so that every divergence is finite; some are nearly so.
    weights = rng.gamma(concentration, size=cells) + 1e-12
    return np.asarray(weights / weights.sum())


def _rounding(p: np.ndarray, q: np.ndarray) -> float:
    return float(64 * EPS * (np.abs(p * np.log(p / q)).sum() + p.sum() + q.sum()))


@claim(
    "P1.nonnegative",
    "KL(p ‖ q) = Σ_i p_i log(p_i/q_i) ≥ ½ (Σ |p − q|)² ≥ 0, so that it vanishes only for p = q; the same holds for "
    "densities that are constant on cells",
    source="course 001, P5(a); course 002, P4",
    concentration=concentrations,
    seed=seeds,
)
def divergence_is_nonnegative(concentration: float, seed: int) -> None:
    """Compare with the sum, and with Pinsker's lower bound, the sharp form of the statement."""
    rng = np.random.default_rng(seed)
    p, q = _probabilities(rng, concentration), _probabilities(rng, concentration)
    volumes = rng.uniform(0.1, 3, CELLS)
    bound, rounding = 0.5 * np.abs(p - q).sum() ** 2, _rounding(p, q)
    found = float(_kl(p, q))
    check_equal("KL against its definition", found, (p * np.log(p / q)).sum(), rounding)
    if not found >= bound - rounding:
        raise AssertionError(f"the divergence is {found:.12g}, below ½ (Σ |p − q|)² = {bound:.12g}")
    check_equal("KL of densities", _kl(p / volumes, q / volumes, volumes), found, rounding)
    check_equal("KL(p ‖ p)", _kl(p, p), 0.0, 0.0)


factors = st.integers(1, 4)


@claim(
    "P1.products",
    "KL(p₁ ⊗ … ⊗ p_d ‖ q₁ ⊗ … ⊗ q_d) = Σ_i KL(p_i ‖ q_i)",
    source="course 001, P5(b); course 002, P4",
    count=factors,
    concentration=concentrations,
    seed=seeds,
)
def divergence_of_products(count: int, concentration: float, seed: int) -> None:
    """Form the products of up to four pairs of distributions, on 6, 5, 4 and 3 cells."""
    rng = np.random.default_rng(seed)
    pairs = [[_probabilities(rng, concentration, CELLS - i) for _ in range(2)] for i in range(count)]
    joint, other = (_product([pair[side] for pair in pairs]) for side in range(2))
    parts = sum(float(_kl(p, q)) for p, q in pairs)
    check_equal("KL of the products", _kl(joint, other, axis=tuple(range(count))), parts, _rounding(joint, other))


def _product(parts: Sequence[np.ndarray]) -> np.ndarray:
    return functools.reduce(np.multiply.outer, parts)


STEP, REACH = 0.25, 12.0


def _density(rng: np.random.Generator, x: np.ndarray) -> np.ndarray:
    """A mixture of two Gaussians with scales from 0.6 to 1.2, on a grid."""
    mean, scale, share = rng.uniform(-3, 3, 2), rng.uniform(0.6, 1.2, 2), rng.uniform(0.1, 0.9)
    bumps = np.exp(-0.5 * np.square((x[:, None] - mean) / scale)) / (scale * np.sqrt(2 * np.pi))
    return np.asarray(bumps @ [share, 1 - share])


@claim(
    "P1.densities",
    "for densities on ℝᵈ, KL(p ‖ q) = ∫ p log(p/q) ≥ ½ (∫ |p − q|)² ≥ 0, and KL(p₁ ⊗ … ⊗ p_d ‖ q₁ ⊗ … ⊗ q_d) = "
    "Σ_i KL(p_i ‖ q_i)",
    source="course 001, P5; course 002, P4",
    count=st.integers(1, 3),
    seed=seeds,
)
def divergence_of_densities(count: int, seed: int) -> None:
    """Integrate mixtures of Gaussians over grids; a product of three takes 97³ cells.

    A sum over a grid with spacing h is off by the integrand's Fourier transform at 2π/h, which is below 1e-8 for the
    densities. |p − q| has kinks, near which the sum is off by h² |p′ − q′|/8 at most: 0.01 for these densities.
    """
    rng = np.random.default_rng(seed)
    x = np.arange(-REACH, REACH + STEP / 2, STEP)
    pairs = [(_density(rng, x), _density(rng, x)) for _ in range(count)]
    parts = []
    for p, q in pairs:
        check_equal("∫ p and ∫ q", np.array([p.sum(), q.sum()]) * STEP, 1.0, 1e-8)
        found = float(_kl(p, q, STEP))
        check_equal("KL against ∫ p log(p/q)", found, (p * np.log(p / q)).sum() * STEP, 1e-12 * (1 + found))
        distance = np.abs(p - q).sum() * STEP - 0.01
        if not found >= 0.5 * max(distance, 0) ** 2:
            raise AssertionError(f"the divergence is {found:.12g}, below ½ (∫ |p − q|)² ≥ {0.5 * distance**2:.12g}")
        parts.append(found)
    joint, other = (_product([pair[side] for pair in pairs]) for side in range(2))
    found = _kl(joint, other, STEP**count, axis=tuple(range(count)))
    # The sums of the other factors multiply each divergence.
    check_equal("KL of the products", found, sum(parts), 1e-7 * (1 + sum(parts)))


@claim(
    "E13.expectation",
    "E_f[g/f] = ∫ f (g/f) = 1 for any two densities f and g",
    source="course 002, P4(a); erratum E13",
    verdict="refuted",
    width=st.integers(1, 4),
)
def expectation_of_a_ratio(width: int) -> None:
    """Take f = U(0, 1) and g = U(0, width), on cells of width ¼: E_f[g/f] is g's mass on the support of f."""
    cells = np.arange(0, 4, 0.25)
    f, g = (np.where(cells < end, 1 / end, 0.0) for end in (1, width))
    support = f > 0
    mean = (f[support] * (g[support] / f[support])).sum() / 4
    divergence = float(_kl(f, g, 0.25))
    if abs(mean - 1) > 1e-6 and abs(divergence - math.log(width)) < 1e-12:
        raise AssertionError(
            f"for f = U(0, 1) and g = U(0, {width}) it is {mean:.6g}; the inequality KL(f ‖ g) = {divergence:.6g} ≥ 0 "
            "holds nevertheless, since E_f[g/f] ≤ 1"
        )
