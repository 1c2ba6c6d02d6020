"""Claims about the one-dimensional flow that mixes Gaussian distribution functions: F10, E4."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import scipy.stats

from mathdnn_jax.bijectors import Params, mixture_cdf
from mathdnn_jax.claims.claim import claim
from mathdnn_jax.claims.evidence import EPS, check_equal, seeds
from mathdnn_jax.flows import mixture_cdf_flow

counts = st.integers(1, 5)


@functools.cache
def _density(components: int, normalised: bool) -> Callable[..., jax.Array]:
    flow = mixture_cdf_flow(components, normalised=normalised)
    return jax.jit(lambda params, x: jnp.exp(flow.log_prob(params, x)))


@functools.cache
def _map(components: int, normalised: bool) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """The compiled map from x to (z, log dz/dx as reported, dz/dx by autodiff), and the compiled inverse."""
    made = mixture_cdf(components, normalised=normalised)

    def forward(params: Params, x: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        value, slope = jax.value_and_grad(lambda x: made.forward(params, x), has_aux=True)(x)
        return *value, slope

    return jax.jit(forward), jax.jit(made.inverse)


def _params(components: int, seed: int) -> Params:
    rng = np.random.default_rng(seed)
    return {
        "mean": jnp.asarray(2 * rng.normal(size=components)),
        "log_scale": jnp.asarray(rng.uniform(-1.5, 1.0, components)),
        "weight_logits": jnp.asarray(rng.normal(size=components)),
    }


def _mass(params: Params, normalised: bool) -> float:
    """The integral of the flow's density, by Gauss–Legendre quadrature between multiples of the components' scales."""
    density = _density(len(params["mean"]), normalised)
    mean, scale = np.asarray(params["mean"]), np.exp(np.asarray(params["log_scale"]))
    reach = np.array([-40, -12, -8, -6, -4, -3, -2, -1, 0, 1, 2, 3, 4, 6, 8, 12, 40])
    edges = np.unique((mean[:, None] + scale[:, None] * reach).ravel())
    nodes, weights = np.polynomial.legendre.leggauss(24)
    half = np.diff(edges) / 2
    points = (edges[:-1] + half)[:, None] + half[:, None] * nodes
    return float((np.asarray(density(params, points)) * weights * half[:, None]).sum())


def _total_weight(params: Params) -> float:
    return float(np.exp(np.asarray(params["weight_logits"])).sum())


def _confined_mass(params: Params) -> float:
    """2 Φ(W/2) − 1, the prior's mass on (−W/2, W/2)."""
    return float(2 * scipy.stats.norm.cdf(_total_weight(params) / 2) - 1)


def _event(params: Params, seed: int) -> jax.Array:
    """A draw from the first component."""
    mean, scale = float(params["mean"][0]), np.exp(float(params["log_scale"][0]))
    return jnp.asarray(mean + np.random.default_rng((seed, 1)).normal() * scale)


@claim(
    "F10.derivative",
    "z(x) = Σ_k w_k (Φ((x−μ_k)/σ_k) − ½) has dz/dx = Σ_k w_k φ_k(x), w = exp(logits), φ_k the density of N(μ_k, σ_k²); "
    "the normalised z(x) = Φ⁻¹(Σ_k π_k Φ((x−μ_k)/σ_k)) has Σ_k π_k φ_k(x)/φ(z), π = softmax(logits)",
    source="course 002, P2",
    components=counts,
    normalised=st.booleans(),
    seed=seeds,
)
def mixture_derivative(components: int, normalised: bool, seed: int) -> None:
    """Compare z, the reported log-det and the derivative by autodiff with the formulas."""
    params = _params(components, seed)
    x = _event(params, seed)
    z, log_det, slope = map(float, _map(components, normalised)[0](params, x))
    mean, scale, weights = (np.asarray(params[name]) for name in ("mean", "log_scale", "weight_logits"))
    scale, weights = np.exp(scale), np.exp(weights)
    cdfs, densities = scipy.stats.norm.cdf(float(x), mean, scale), scipy.stats.norm.pdf(float(x), mean, scale)
    total = weights.sum()
    if normalised:
        level = weights @ cdfs / total
        formula, derivative = scipy.stats.norm.ppf(level), weights @ densities / total / scipy.stats.norm.pdf(z)
        # The quantile of a level that is rounded: its error is that of the level over the density.
        bound = 64 * EPS * (1 + abs(z) + 1 / scipy.stats.norm.pdf(z))
    else:
        formula, derivative, bound = weights @ (cdfs - 0.5), weights @ densities, 64 * EPS * total
    check_equal("z", z, formula, bound)
    relative = 64 * EPS * (1 + np.square((float(x) - mean) / scale).max() + z * z)
    check_equal("dz/dx by autodiff over the formula", slope / derivative, 1.0, relative)
    check_equal("log dz/dx", log_det, np.log(derivative), relative)


@claim(
    "F10.mass",
    "p_Z(z(x)) dz/dx with w = exp(logits) integrates to 2 Φ(W/2) − 1, W = Σ_k w_k",
    source="course 002, P2; erratum E4",
    components=counts,
    seed=seeds,
)
def seed_form_mass(components: int, seed: int) -> None:
    """Integrate by quadrature."""
    params = _params(components, seed)
    check_equal("integral", _mass(params, normalised=False), _confined_mass(params), 1e-8)


@claim(
    "F10.normalised_mass",
    "z = Φ⁻¹(Σ_k softmax(w)_k Φ((x−μ_k)/σ_k)) is onto ℝ, and its density integrates to 1",
    source="course 002, P2; erratum E4",
    components=counts,
    seed=seeds,
)
def normalised_mass(components: int, seed: int) -> None:
    """Integrate by quadrature."""
    check_equal("integral", _mass(_params(components, seed), normalised=True), 1.0, 1e-8)


@claim(
    "F10.inverse",
    "bisection on a checked bracket inverts x ↦ z(x) at every z in its range",
    source="course 002, P2",
    components=counts,
    normalised=st.booleans(),
    seed=seeds,
)
def mixture_inverse(components: int, normalised: bool, seed: int) -> None:
    """Map a draw to its image and back; the bound is what one rounding of z does to x."""
    forward, inverse = _map(components, normalised)
    params = _params(components, seed)
    x = _event(params, seed)
    z, log_det, _ = forward(params, x)
    back, inverse_log_det = inverse(params, z)
    size = _total_weight(params) + abs(float(z)) + 1
    bound = 64 * EPS * (size * float(np.exp(-float(log_det))) + abs(float(x)))
    check_equal("inverse of the image", back, x, bound)
    check_equal("sum of the two log-dets", float(log_det) + float(inverse_log_det), 0.0, 1e-9 + 1e3 * bound)


@claim(
    "E4.mass",
    "p_Z(z(x)) dz/dx with w = exp(logits) is a density: it integrates to 1",
    source="course 002, P2; erratum E4",
    verdict="refuted",
    components=counts,
    seed=seeds,
)
def seed_form_is_a_density(components: int, seed: int) -> None:
    """Integrate by quadrature: z is confined to (−W/2, W/2), and the prior's mass outside is lost."""
    params = _params(components, seed)
    mass = _mass(params, normalised=False)
    if abs(mass - 1) > 1e-6:
        raise AssertionError(
            f"the integral is {mass:.9g}, which is 2 Φ(W/2) − 1 = {_confined_mass(params):.9g} for "
            f"W = {_total_weight(params):.6g}"
        )


@claim(
    "E4.bisection",
    "bisection on [−3, 3] finds x with z(x) = z for every z drawn from the prior",
    source="course 002, P2; erratum E4",
    verdict="refuted",
    components=counts,
    seed=seeds,
    z=st.floats(-4, 4),
)
def unchecked_bisection(components: int, seed: int, z: float) -> None:
    """Bisect without checking that the bracket contains a root; if it does not, an end point comes back."""
    forward, params = _map(components, False)[0], _params(components, seed)
    low, high = -3.0, 3.0

    def value(x: float) -> float:
        return float(forward(params, jnp.asarray(x))[0])

    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if value(middle) < z else (low, middle)
    reached = value(low)
    if abs(reached - z) > 1e-6:
        raise AssertionError(f"for z = {z:.6g} it returns x = {low:.6g}, where z(x) = {reached:.6g}")
