"""The f-divergence that a GAN with unequally weighted errors minimises, and its optimal discriminator."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.special import rel_entr, xlog1py, xlogy
from jax.typing import ArrayLike

from mathdnn_jax.errors import DomainError
from mathdnn_jax.probability.checks import check_densities, check_no_nan, check_positive, concrete_values

Axes = int | tuple[int, ...] | None


class FDivergence(NamedTuple):
    """The divergence D_f(p ‖ q) = ∫ q f(p/q) of the game max_D E_p[log D] + λ E_q[log(1 − D)].

    - `function(u)`: f, elementwise; +∞ for u < 0;
    - `derivative(u)`: f′(u) = log(u / (u + λ)), which at u = p/q is the logarithm of the optimal discriminator;
    - `conjugate(t)`: f*(t) = sup_u (t u − f(u)), elementwise; +∞ for t ≥ 0;
    - `divergence(p, q, cell_volume, axis=None)`: D_f for densities on a grid;
    - `constant`: (1 + λ) log(1 + λ) − λ log λ, the difference between D_f and the value of the game.
    """

    function: Callable[[ArrayLike], jax.Array]
    derivative: Callable[[ArrayLike], jax.Array]
    conjugate: Callable[[ArrayLike], jax.Array]
    divergence: Callable[..., jax.Array]
    constant: float


def f_divergence(weight: float) -> FDivergence:
    """f(u) = u log(u/(u+λ)) + λ log(λ/(λ+u)) + (1+λ) log(1+λ) − λ log λ for u ≥ 0, with λ = `weight` > 0.

    f is convex with f(1) = 0, so D_f ≥ 0, with equality only for p = q. λ = 1 gives twice the Jensen–Shannon
    divergence. f*(t) = −λ log(1 − e^t) − ((1+λ) log(1+λ) − λ log λ) for t < 0.

    `divergence` takes densities p and q on a grid and the volumes of its cells (one number if all are equal) and sums
    over `axis`, by default over all axes. A cell with q = 0 contributes 0, the limit of q f(p/q). The result is exact
    to the extent that q integrates to 1 on the grid.

    Returns:
        f, its derivative and conjugate, and the divergence; see `FDivergence`.

    Raises:
        DomainError: The weight is not a finite number greater than 0, or `divergence` is given concrete densities that
            are negative, infinite or NaN.

    Source: course 000, Q5; Nowozin, Cseke and Tomioka, "f-GAN" (2016).
    """
    weight = _checked_weight(weight)
    constant = math.log1p(weight) + weight * math.log1p(1 / weight)

    @jax.custom_jvp
    def convex(u: jax.Array) -> jax.Array:
        # Near 1: u log u − (u + λ) log(u + λ) + (1 + λ) log(1 + λ), written in terms of u − 1, so that every term is 0
        # at 1.
        is_near = jnp.abs(u - 1) < 0.5
        near = jnp.where(is_near, u, 1)
        step = near - 1
        at_near = near * jnp.log1p(step) - step * math.log1p(weight) - (near + weight) * jnp.log1p(step / (1 + weight))
        # Elsewhere this form cancels and the definition does not. u/λ must not overflow, nor u log(1 + λ/u) be 0 · ∞.
        falling = jnp.where(u > 0, u * jnp.log1p(weight / jnp.where(u > 0, u, 1)), 0)
        log_sum = jnp.where(
            u > weight,
            jnp.log1p(weight / jnp.maximum(u, weight)) + jnp.log(jnp.maximum(u, weight)) - math.log(weight),
            jnp.log1p(jnp.minimum(u, weight) / weight),
        )
        return jnp.where(is_near, at_near, constant - falling - weight * log_sum)

    convex.defjvps(lambda tangent, _, u: derivative(u) * tangent)

    def function(u: ArrayLike) -> jax.Array:
        u = jnp.asarray(u)
        return jnp.where(u < 0, jnp.inf, convex(jnp.where(u < 0, 1, u)))

    def derivative(u: ArrayLike) -> jax.Array:
        return -jnp.log1p(weight / jnp.asarray(u))

    def conjugate(t: ArrayLike) -> jax.Array:
        t = jnp.asarray(t)
        below = jnp.where(t < 0, t, -1)
        near = jnp.where(below > -math.log(2), below, -1)
        # log(1 − e^t): by expm1 where e^t is near 1, by log1p where it is small.
        log_complement = jnp.where(below > -math.log(2), jnp.log(-jnp.expm1(near)), jnp.log1p(-jnp.exp(below)))
        value = -weight * log_complement - constant
        return jnp.where(t < 0, value, jnp.where(jnp.isnan(t), t, jnp.inf))

    def divergence(p: ArrayLike, q: ArrayLike, cell_volume: ArrayLike, axis: Axes = None) -> jax.Array:
        p, q = jnp.asarray(p), jnp.asarray(q)
        check_densities(p=p, q=q, cell_volume=cell_volume)
        mixture = p + weight * q
        terms = rel_entr(p, mixture) + rel_entr(weight * q, mixture) + constant * q
        return (_nan_where_nan(terms, p, q) * jnp.asarray(cell_volume, terms.dtype)).sum(axis)

    return FDivergence(function, derivative, conjugate, divergence, constant)


def optimal_discriminator(p: ArrayLike, q: ArrayLike, weight: float) -> jax.Array:
    """D(x) = p(x) / (p(x) + λ q(x)), which maximises E_p[log D] + λ E_q[log(1 − D)] over all D with values in [0, 1].

    Where both densities are 0, any value is optimal; it is 1/(1 + λ) there, as it is where they are equal.

    Returns:
        The values of D, with the shape of p and q broadcast against each other.

    Raises:
        DomainError: The weight is not a finite number greater than 0, or concrete densities are negative, infinite or
            NaN.

    Source: course 000, Q5.
    """
    weight = _checked_weight(weight)
    p, q = jnp.asarray(p), jnp.asarray(q)
    check_densities(p=p, q=q)
    nowhere = (p == 0) & (q == 0)
    p, q = jnp.where(nowhere, 1, p), jnp.where(nowhere, 1, q)
    # Relative to the larger density, so that neither the sum overflows nor the quotient underflows.
    larger = jnp.maximum(p, q)
    p, q = p / larger, q / larger
    return p / (p + weight * q)


def discriminator_value(
    discriminator: ArrayLike, p: ArrayLike, q: ArrayLike, weight: float, cell_volume: ArrayLike, axis: Axes = None
) -> jax.Array:
    """The value of the game, ∫ p log D + λ ∫ q log(1 − D), for a discriminator and densities given on a grid.

    For `optimal_discriminator` it is D_f(p ‖ q) − `f_divergence(weight).constant`; for any other it is lower.

    Returns:
        The value, summed over `axis`, by default over all axes.

    Raises:
        DomainError: As in `optimal_discriminator`, or concrete values of the discriminator are outside [0, 1].

    Source: course 000, Q5.
    """
    weight = _checked_weight(weight)
    discriminator, p, q = jnp.asarray(discriminator), jnp.asarray(p), jnp.asarray(q)
    check_densities(p=p, q=q, cell_volume=cell_volume)
    check_no_nan(discriminator=discriminator)
    values = concrete_values(discriminator)
    if values is not None and not (values.min() >= 0 and values.max() <= 1):
        raise DomainError(f"a discriminator's values are probabilities; given {values.min():.6g} to {values.max():.6g}")
    terms = xlogy(p, discriminator) + weight * xlog1py(q, -discriminator)
    return (terms * jnp.asarray(cell_volume, terms.dtype)).sum(axis)


def _checked_weight(weight: float) -> float:
    check_positive(weight=weight)
    if not math.isfinite(weight):
        raise DomainError(f"the weight must be finite, given {weight}")
    return float(weight)


def _nan_where_nan(terms: jax.Array, *sources: jax.Array) -> jax.Array:
    """Propagate NaN: rel_entr treats it as a value outside its domain and returns infinity."""
    for source in sources:
        terms = jnp.where(jnp.isnan(source), jnp.nan, terms)
    return terms
