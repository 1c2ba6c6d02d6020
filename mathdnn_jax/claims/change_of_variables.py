"""Claims about the change-of-variables formula, for affine and for nonlinear maps: F11."""

from __future__ import annotations

import functools
import math
from typing import Any

import flax.linen as nn
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np

from mathdnn_jax.bijectors import Bijector, actnorm, affine_coupling, chain, invert, plu_from_matrix
from mathdnn_jax.claims.claim import claim
from mathdnn_jax.claims.evidence import EPS, check_equal, seeds
from mathdnn_jax.claims.map_evidence import random_params
from mathdnn_jax.claims.quadrature import grid
from mathdnn_jax.flows import Flow, flow
from mathdnn_jax.nets import MLP
from mathdnn_jax.probability import normal


@claim(
    "F11.density",
    "X = A Y + b with Y ~ N(0, I) has the density ((2π)ⁿ det Σ)^(−½) exp(−½ (x−b)ᵀ Σ⁻¹ (x−b)) of N(b, Σ), Σ = A Aᵀ, at "
    "every point",
    source="course 001, P4",
    dim=st.integers(1, 5),
    seed=seeds,
)
def gaussian_density(dim: int, seed: int) -> None:
    """Compare the flow x → A⁻¹(x − b) with the formula, to 64 ε times the condition of Σ."""
    rng = np.random.default_rng(seed)
    matrix, mean, x = rng.normal(size=(dim, dim)), rng.normal(size=dim), rng.normal(size=dim)
    linear, linear_params = plu_from_matrix(matrix)
    whole = flow(chain(shift=actnorm(dim, event_ndims=1), linear=invert(linear)), normal((dim,)))
    params = {"shift": {"log_scale": np.zeros(dim), "bias": -mean}, "linear": linear_params}
    covariance = matrix @ matrix.T
    square = (x - mean) @ np.linalg.solve(covariance, x - mean)
    expected = -0.5 * (dim * math.log(2 * math.pi) + np.linalg.slogdet(covariance)[1] + square)
    found = jax.jit(whole.log_prob)(params, x)
    bound = 64 * EPS * dim * np.linalg.cond(covariance) * (1 + square + abs(expected))
    check_equal("log-density", found, expected, bound)


DIM = 2
STEP, REACH = 0.25, 20.0
BOUND_OF_S = 0.5
"""Bound on the couplings' log-scales, so that sums over a grid are exact."""


@functools.cache
def _nonlinear() -> tuple[Flow, Any]:
    """A smooth nonlinear flow on the plane, and its compiled map (params, points) → (z, log p, log|det ∂φ/∂x|)."""

    def coupling(first: bool) -> Bijector:
        mask = np.arange(DIM) % 2 == (0 if first else 1)
        return affine_coupling(MLP((4, 2 * int((~mask).sum())), nn.tanh), mask, log_scale_bound=BOUND_OF_S)

    made = flow(chain(first=coupling(True), second=coupling(False), third=coupling(True)), normal((DIM,)))

    def at(params: Any, x: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        z, _ = made.forward(params, x)
        slogdet = jnp.linalg.slogdet(jax.jacfwd(lambda x: made.forward(params, x)[0])(x))
        return z, made.log_prob(params, x), slogdet[1]

    return made, (jax.jit(jax.vmap(at, (None, 0))), jax.jit(made.inverse))


@claim(
    "F11.nonlinear",
    "if φ: ℝⁿ → ℝⁿ is one-to-one and differentiable and φ(X) has the density p_Y, then p_X(x) = p_Y(φ(x)) |det ∂φ/∂x| "
    "is the density of X: ∫ h(x) p_X(x) dx = ∫ h(φ⁻¹(y)) p_Y(y) dy for every h, and = 1 for h = 1",
    source="course 001, P4",
    seed=seeds,
)
def nonlinear_change_of_variables(seed: int) -> None:
    """Integrate 1 and a Gaussian bump with sums over two grids of the plane, of x and of y, for a φ of three couplings.

    A sum over a grid with spacing h of a smooth density is off by its Fourier transform at 2π/h, and by the mass beyond
    the grid. Both are below 1e-7 for these maps, as halving h shows.
    """
    made, (at, inverse) = _nonlinear()
    params = random_params(made.bijector, seed, 0.3)
    centre = np.random.default_rng((seed, 1)).normal(size=DIM)

    def bump(x: np.ndarray) -> np.ndarray:
        return np.asarray(np.exp(-0.5 * np.square(x - centre).sum(-1)))

    x, volume = _points(STEP, REACH)
    z, log_prob, log_det = (np.asarray(part) for part in at(params, x))
    formula = -0.5 * np.square(z).sum(-1) - DIM / 2 * math.log(2 * math.pi) + log_det
    check_equal("log p_X against the formula", log_prob, formula, 1e-10 * (1 + np.abs(formula)))
    y, volume_of_y = _points(STEP, 8.0)
    weights = np.exp(-0.5 * np.square(y).sum(-1)) / (2 * math.pi) ** (DIM / 2) * volume_of_y
    density = np.exp(formula)
    check_equal("∫ p_X", density.sum() * volume, 1.0, 1e-7)
    right = (weights * bump(np.asarray(inverse(params, y)[0]))).sum()
    check_equal("∫ h p_X against ∫ h(φ⁻¹(y)) p_Y", (density * bump(x)).sum() * volume, right, 1e-7)


def _points(step: float, reach: float) -> tuple[np.ndarray, float]:
    """A grid on [−reach, reach]², and the area of its cells."""
    return grid(np.arange(-reach, reach + step / 2, step), DIM), step**DIM
