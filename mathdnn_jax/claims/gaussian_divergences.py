"""Claims about the Kullback–Leibler divergence of Gaussians: P2."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np

from mathdnn_jax.claims.claim import claim
from mathdnn_jax.claims.evidence import EPS, check_equal, seeds
from mathdnn_jax.claims.quadrature import grid
from mathdnn_jax.probability import (
    diagonal_gaussian_kl,
    diagonal_gaussian_log_prob,
    gaussian_kl,
    gaussian_log_prob,
)

_gaussian_kl, _diagonal_kl = jax.jit(gaussian_kl), jax.jit(diagonal_gaussian_kl)
_gaussian_log_prob, _diagonal_log_prob = jax.jit(gaussian_log_prob), jax.jit(diagonal_gaussian_log_prob)


def _covariance(rng: np.random.Generator, dim: int) -> np.ndarray:
    """A random covariance with scales from e^−2 to e^2 and a correlation of at most 0.95."""
    scale = np.exp(rng.uniform(-2, 2, dim))
    correlation = np.eye(dim)
    if dim > 1:
        correlation[0, 1] = correlation[1, 0] = rng.uniform(-0.95, 0.95)
    return np.asarray(scale[:, None] * correlation * scale)


def _quadrature(mean: np.ndarray, covariance: np.ndarray) -> tuple[np.ndarray, float]:
    """Points, and the volume of a cell, for integrals of polynomials against N(mean, covariance).

    This is the trapezoidal rule in whitened coordinates, up to 10 deviations in steps of h = ½. Relative to the
    integrand's size, the rule is off by e^(−2π²/h²) = 1e-34, and the tails that are cut off are below 1e-20.
    """
    step = 0.5
    axis = np.arange(-10, 10 + step / 2, step)
    factor = np.linalg.cholesky(covariance)
    return mean + grid(axis, len(mean)) @ factor.T, float(np.diagonal(factor).prod() * step ** len(mean))


def _check_quadrature(
    kl: Callable[..., Any],
    log_prob: Callable[..., Any],
    p: tuple[np.ndarray, ...],
    q: tuple[np.ndarray, ...],
    covariance: np.ndarray,
) -> Any:
    """Check the closed form for p, whose covariance is given, and q against the integral of p log(p/q); return it."""
    points, volume = _quadrature(p[0], covariance)
    closed, log_p, log_q = kl(*p, *q), log_prob(points, *p), log_prob(points, *q)
    density = np.exp(np.asarray(log_p))
    check_equal("integral of the density", density.sum() * volume, 1.0, 1e-12)
    check_equal("closed form against quadrature", closed, (density * np.asarray(log_p - log_q)).sum() * volume, 1e-9)
    return closed


@claim(
    "P2.quadrature",
    "KL(N(μ₀, Σ₀) ‖ N(μ₁, Σ₁)) = ½ (tr(Σ₁⁻¹Σ₀) + (μ₁ − μ₀)ᵀ Σ₁⁻¹ (μ₁ − μ₀) − d + log(det Σ₁ / det Σ₀)) is the integral "
    "of p log(p/q)",
    source="course 001, P6; course 002, P5",
    dim=st.integers(1, 2),
    seed=seeds,
)
def gaussian_divergence(dim: int, seed: int) -> None:
    """Compare the closed form with quadrature, to 1e-9, and with the formula as stated."""
    rng = np.random.default_rng(seed)
    mean, other_mean = rng.normal(size=dim), rng.normal(size=dim)
    covariance, other = _covariance(rng, dim), _covariance(rng, dim)
    p, q = (mean, covariance), (other_mean, other)
    closed = _check_quadrature(_gaussian_kl, _gaussian_log_prob, p, q, covariance)
    precision, shift = np.linalg.inv(other), other_mean - mean
    terms = [np.trace(precision @ covariance), shift @ precision @ shift, -dim]
    terms += [np.linalg.slogdet(other)[1], -np.linalg.slogdet(covariance)[1]]
    bound = 64 * EPS * (np.linalg.cond(other) + np.linalg.cond(covariance)) * np.abs(terms).sum()
    check_equal("closed form against the formula", closed, sum(terms) / 2, bound)


@claim(
    "P2.diagonal",
    "KL(N(μ₀, diag σ₀²) ‖ N(μ₁, diag σ₁²)) = Σ_i log(σ₁/σ₀)_i + ((σ₀² + (μ₀ − μ₁)²) / 2σ₁² − ½)_i is the integral of "
    "p log(p/q), the sum over the coordinates and the closed form for full covariances",
    source="course 001, P6; course 002, P5; course 000, Q6(c)",
    dim=st.integers(1, 2),
    seed=seeds,
)
def diagonal_gaussian_divergence(dim: int, seed: int) -> None:
    """Compare the closed form with quadrature, to 1e-9, and with the other forms."""
    rng = np.random.default_rng(seed)
    mean, other_mean = rng.normal(size=dim), rng.normal(size=dim)
    log_scale, other = rng.uniform(-2, 2, dim), rng.uniform(-2, 2, dim)
    covariance = np.diag(np.exp(2 * log_scale))
    closed = _check_quadrature(_diagonal_kl, _diagonal_log_prob, (mean, log_scale), (other_mean, other), covariance)
    quotient = (np.exp(2 * log_scale) + np.square(mean - other_mean)) / (2 * np.exp(2 * other))
    bound = 64 * EPS * (quotient.sum() + np.abs(other - log_scale).sum() + dim)
    check_equal("closed form against the formula", closed, (other - log_scale + quotient - 0.5).sum(), bound)
    parts = [_diagonal_kl(*(x[i : i + 1] for x in (mean, log_scale, other_mean, other))) for i in range(dim)]
    check_equal("sum of the coordinates' divergences", sum(parts), closed, bound)
    full = _gaussian_kl(mean, covariance, other_mean, np.diag(np.exp(2 * other)))
    check_equal("closed form for full covariances", full, closed, bound)


@claim(
    "P2.blocks",
    "the KL divergence of Gaussians with independent blocks is the sum of the blocks', none of which is negative",
    source="course 001, P5(b) and P6; course 002, P4 and P5",
    seed=seeds,
)
def gaussian_divergence_of_blocks(seed: int) -> None:
    """Join a block of one coordinate and a block of two."""
    rng = np.random.default_rng(seed)
    means = [(rng.normal(size=dim), rng.normal(size=dim)) for dim in (1, 2)]
    covariances = [(_covariance(rng, dim), _covariance(rng, dim)) for dim in (1, 2)]
    parts = [float(_gaussian_kl(m0, c0, m1, c1)) for (m0, m1), (c0, c1) in zip(means, covariances, strict=True)]
    joint_means = [jnp.concatenate(pair) for pair in zip(*means, strict=True)]
    joint = [jax.scipy.linalg.block_diag(*map(jnp.asarray, pair)) for pair in zip(*covariances, strict=True)]
    together = _gaussian_kl(joint_means[0], joint[0], joint_means[1], joint[1])
    bound = 64 * EPS * sum(np.linalg.cond(pair[1]) for pair in covariances) * (3 + sum(parts))
    check_equal("KL of the joined blocks", together, sum(parts), bound)
    if min(parts) < 0:
        raise AssertionError(f"a divergence is {min(parts):.3g}, below 0")
