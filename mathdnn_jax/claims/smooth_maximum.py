"""Claims about the smooth maximum: P3, E7."""

from __future__ import annotations

from collections.abc import Sequence

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import scipy.special

from mathdnn_jax.claims.claim import claim
from mathdnn_jax.claims.evidence import EPS, check_equal
from mathdnn_jax.probability import smooth_max, smooth_max_gradient

entries = st.lists(st.floats(-100, 100, allow_subnormal=False), min_size=1, max_size=3)
levels = st.lists(st.integers(0, 2), min_size=2, max_size=3)
"""Few values, so that ties are common; different values are at least 1 apart."""

slopes = st.floats(-2, 3).map(lambda power: 10.0**power)

_value, _gradient, _autodiff = jax.jit(smooth_max), jax.jit(smooth_max_gradient), jax.jit(jax.grad(smooth_max))


@claim(
    "P3.bounds",
    "ν_β(x) = β⁻¹ log Σ_i exp(β x_i): max x ≤ ν_β(x) ≤ max x + log(n) / β",
    source="course 004, P1(a)",
    x=entries,
    beta=slopes,
)
def smooth_max_bounds(x: Sequence[float], beta: float) -> None:
    """Compare with both bounds and with the definition."""
    found, values = float(_value(np.array(x), beta)), np.array(x)
    rounding = 16 * EPS * (np.abs(values).max() + 1 / beta)
    upper = max(x) + np.log(len(x)) / beta
    if not max(x) - rounding <= found <= upper + rounding:
        raise AssertionError(f"ν_β(x) is {found:.17g}, outside [{max(x):.17g}, {upper:.17g}]")
    expected = scipy.special.logsumexp(beta * values) / beta
    check_equal("ν_β(x) against its definition", found, expected, 4 * rounding)


@claim(
    "P3.gradient",
    "∇ν_β(x) = softmax(β x), which is the softmax of x for β = 1",
    source="course 004, P1(b)",
    x=entries,
    beta=st.one_of(st.just(1.0), slopes),
)
def smooth_max_slope(x: Sequence[float], beta: float) -> None:
    """Compare the derivative by autodiff, and the closed form, with exp(β x_i) / Σ_j exp(β x_j)."""
    values = np.array(x)
    expected = scipy.special.softmax(beta * values)
    # An error of ε β |x_i| in an exponent is a relative error of the same size in the term.
    bound = 16 * EPS * (1 + beta * np.abs(values).max())
    check_equal("derivative by autodiff", _autodiff(values, beta), expected, bound)
    check_equal("closed form", _gradient(values, beta), expected, bound)


@claim(
    "P3.limit",
    "∇ν_β(x) → 1/k on the k entries that attain the maximum and 0 elsewhere as β → ∞, within (n − k) exp(−β g), where "
    "g is the gap to the next value",
    source="course 004, P1(c); erratum E7",
    x=levels,
    beta=st.sampled_from([1.0, 5.0, 20.0, 1e3, np.inf]),
)
def smooth_max_limit(x: Sequence[int], beta: float) -> None:
    """Compare with the limit; the gap is at least 1."""
    values = np.array(x, np.float64)
    attains = values == values.max()
    count = attains.sum()
    gap = values.max() - values[~attains].max(initial=-np.inf)
    bound = 4 * EPS + (len(x) - count) * np.exp(-beta * gap)
    check_equal("closed form", _gradient(values, beta), attains / count, bound)
    if np.isfinite(beta):
        check_equal("derivative by autodiff", _autodiff(values, beta), attains / count, bound)


@claim(
    "E7.indicator",
    "∇ν_β(x) → e_imax, the indicator of one entry, as β → ∞",
    source="course 004, P1(c); erratum E7",
    verdict="refuted",
    x=levels,
)
def limit_is_an_indicator(x: Sequence[int]) -> None:
    """Look at the limit, and at the derivative for β = 1e3 by autodiff: entries that tie share it."""
    values = jnp.array(x, jnp.float64)
    indicator = np.eye(len(x))[int(np.argmax(x))]
    for beta, found in ((1e3, _autodiff(values, 1e3)), (np.inf, _gradient(values, np.inf))):
        if np.abs(found - indicator).max() > 1e-6:
            raise AssertionError(
                f"∇ν_β is {np.asarray(found).tolist()} for β = {beta:g}: {x.count(max(x))} entries attain the maximum, "
                f"and each gets 1/{x.count(max(x))}"
            )
