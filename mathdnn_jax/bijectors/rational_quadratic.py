"""The monotone rational-quadratic spline, entry by entry."""

from __future__ import annotations

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp


class Spline(NamedTuple):
    """Knots and slopes of one spline per entry on the box [−B, B]²; all (…, bins), with bin k from knot k to k + 1.

    - `left`, `bottom`: the knot (x_k, y_k) at which the bin begins;
    - `width`, `height`: the size of the bin;
    - `slope`, `next_slope`: dy/dx at the knots at which the bin begins and ends.
    """

    left: jax.Array
    bottom: jax.Array
    width: jax.Array
    height: jax.Array
    slope: jax.Array
    next_slope: jax.Array


def spline(unconstrained: jax.Array, bound: float, minimum_bin: float, minimum_slope: float) -> Spline:
    """Build splines from any numbers (…, 3K − 1): K widths, K heights, K − 1 slopes at the knots inside the box.

    Widths are 2B (m + (1 − K m) softmax(·)) with m = `minimum_bin`, and heights likewise. Slopes are
    `minimum_slope` + softplus(·), shifted so that 0 gives 1. The slopes at ±B, where the identity continues, are 1.
    All zeros give the identity.
    """
    bins = (unconstrained.shape[-1] + 1) // 3
    widths, heights, slopes = jnp.split(unconstrained, [bins, 2 * bins], axis=-1)
    left, width = _intervals(widths, bound, minimum_bin)
    bottom, height = _intervals(heights, bound, minimum_bin)
    inner = minimum_slope + jax.nn.softplus(slopes + math.log(math.expm1(1 - minimum_slope)))
    one = jnp.ones_like(unconstrained[..., :1])
    slope = jnp.concatenate([one, inner], axis=-1)
    next_slope = jnp.concatenate([inner, one], axis=-1)
    return Spline(left, bottom, width, height, slope, next_slope)


def spline_forward(knots: Spline, x: jax.Array, bound: float) -> tuple[jax.Array, jax.Array]:
    """(y, log dy/dx) of x (…): with ξ = (x − x_k)/w_k, s = h_k/w_k, δ the slopes, and D = s + (δ' + δ − 2s) ξ(1 − ξ),

    y = y_k + h_k (s ξ² + δ ξ(1 − ξ)) / D,  dy/dx = s² (δ' ξ² + 2s ξ(1 − ξ) + δ (1 − ξ)²) / D²;

    y = x outside the box and on its edge.
    """
    inside, x_inside = _inside(x, bound)
    bin_ = _bin(knots, knots.left, x_inside)
    xi = jnp.clip((x_inside - bin_.left) / bin_.width, 0, 1)
    s = bin_.height / bin_.width
    denominator, log_slope = _denominator_and_log_slope(bin_, s, xi)
    y = bin_.bottom + bin_.height * (s * xi * xi + bin_.slope * xi * (1 - xi)) / denominator
    return jnp.where(inside, y, x), jnp.where(inside, log_slope, 0)


def spline_inverse(knots: Spline, y: jax.Array, bound: float) -> tuple[jax.Array, jax.Array]:
    """(x, log dx/dy) of y (…): with η = (y − y_k)/h_k, ξ = 2sη / (b + √(b² + 4 a s η)), a = s − δ + η c, b = δ − η c,

    and c = δ' + δ − 2s. ξ is the root of a quadratic that lies in [0, 1], in the form that avoids cancellation.
    """
    inside, y_inside = _inside(y, bound)
    bin_ = _bin(knots, knots.bottom, y_inside)
    eta = jnp.clip((y_inside - bin_.bottom) / bin_.height, 0, 1)
    s = bin_.height / bin_.width
    bend = eta * (bin_.next_slope + bin_.slope - 2 * s)
    a, b = s - bin_.slope + bend, bin_.slope - bend
    xi = jnp.clip(2 * s * eta / (b + jnp.sqrt(b * b + 4 * a * s * eta)), 0, 1)
    _, log_slope = _denominator_and_log_slope(bin_, s, xi)
    x = bin_.left + xi * bin_.width
    return jnp.where(inside, x, y), jnp.where(inside, -log_slope, 0)


def _intervals(unconstrained: jax.Array, bound: float, minimum: float) -> tuple[jax.Array, jax.Array]:
    """The left ends and the lengths of the intervals that divide [−B, B].

    The lengths are not computed as differences of the ends, which would leave a short interval four digits in float32.
    """
    bins = unconstrained.shape[-1]
    shares = minimum + (1 - bins * minimum) * jax.nn.softmax(unconstrained, axis=-1)
    inner = 2 * bound * jnp.cumsum(shares[..., :-1], axis=-1) - bound
    edge = jnp.full_like(unconstrained[..., :1], -bound)
    return jnp.concatenate([edge, inner], axis=-1), 2 * bound * shares


def _inside(x: jax.Array, bound: float) -> tuple[jax.Array, jax.Array]:
    """Whether x is inside the box, and x itself with 0 where it is not, so that gradients stay finite on both sides."""
    inside = jnp.abs(x) < bound
    return inside, jnp.where(inside, x, 0)


def _bin(knots: Spline, begin: jax.Array, x: jax.Array) -> Spline:
    """The bin that contains x, computed as a sum over all bins with one non-zero term; unlike a gather, it fuses."""
    reached = x[..., None] >= begin
    here = reached & ~jnp.concatenate([reached[..., 1:], jnp.zeros_like(reached[..., :1])], axis=-1)
    return Spline(*(jnp.where(here, value, 0).sum(-1) for value in knots))


def _denominator_and_log_slope(bin_: Spline, s: jax.Array, xi: jax.Array) -> tuple[jax.Array, jax.Array]:
    left = 1 - xi
    denominator = s + (bin_.next_slope + bin_.slope - 2 * s) * xi * left
    numerator = bin_.next_slope * xi * xi + 2 * s * xi * left + bin_.slope * left * left
    return denominator, 2 * jnp.log(s) + jnp.log(numerator) - 2 * jnp.log(denominator)
