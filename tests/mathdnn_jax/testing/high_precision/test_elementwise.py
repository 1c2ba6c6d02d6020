"""Every elementwise primitive that high precision supports, compared with JAX in float64 on the same numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from mathdnn_jax.testing.high_precision import elementwise
from mathdnn_jax.testing.high_precision.interpreter import machine
from mathdnn_jax.testing.high_precision.numbers import nearest

from .compare import DIGITS, WORK, agree, evaluated


@pytest.fixture(autouse=True)
def _in_float64() -> Iterator[None]:
    with jax.enable_x64(True):
        yield


class Row(NamedTuple):
    """A function of one to three numbers, the intervals that they are drawn from, and the accuracy of JAX."""

    function: Callable[..., Any]
    domain: tuple[tuple[float, float], ...] = ((-3.0, 3.0),)
    rtol: float = 1e-13


ANY, POSITIVE, UNIT = (-3.0, 3.0), (0.01, 5.0), (-0.99, 0.99)

ELEMENTWISE: dict[str, Row] = {
    "add": Row(lax.add, (ANY, ANY)),
    "sub": Row(lax.sub, (ANY, ANY)),
    "mul": Row(lax.mul, (ANY, ANY)),
    "neg": Row(lax.neg),
    "abs": Row(lax.abs),
    "div": Row(lax.div, (ANY, ANY)),
    "pow": Row(lax.pow, (POSITIVE, ANY)),
    "rem": Row(lax.rem, (ANY, UNIT)),
    "max": Row(lax.max, (ANY, ANY)),
    "min": Row(lax.min, (ANY, ANY)),
    "clamp": Row(lambda x: lax.clamp(-1.0, x, 0.5)),
    "atan2": Row(lax.atan2, (ANY, ANY)),
    "square": Row(lax.square),
    "sign": Row(lax.sign),
    "floor": Row(lax.floor),
    "ceil": Row(lax.ceil),
    "exp": Row(lax.exp),
    "exp2": Row(lax.exp2),
    "expm1": Row(lax.expm1),
    "log": Row(lax.log, (POSITIVE,)),
    "log1p": Row(lax.log1p, ((-0.99, 3.0),)),
    "sqrt": Row(lax.sqrt, (POSITIVE,)),
    "rsqrt": Row(lax.rsqrt, (POSITIVE,)),
    "cbrt": Row(lax.cbrt),
    "logistic": Row(lax.logistic),
    "tanh": Row(lax.tanh),
    "sinh": Row(lax.sinh),
    "cosh": Row(lax.cosh),
    "sin": Row(lax.sin),
    "cos": Row(lax.cos),
    "tan": Row(lax.tan, (UNIT,)),
    "asin": Row(lax.asin, (UNIT,)),
    "acos": Row(lax.acos, (UNIT,)),
    "atan": Row(lax.atan),
    "asinh": Row(lax.asinh),
    "acosh": Row(lax.acosh, ((1.1, 5.0),)),
    "atanh": Row(lax.atanh, (UNIT,)),
    "erf": Row(lax.erf),
    "erfc": Row(lax.erfc),
    "erf_inv": Row(lax.erf_inv, (UNIT,)),
    "lgamma": Row(lax.lgamma, ((-2.9, 5.0),), 1e-11),
    "digamma": Row(lax.digamma, ((-2.9, 5.0),), 1e-11),
    "polygamma": Row(lambda x: lax.polygamma(jnp.full(x.shape, 2.0), x), (POSITIVE,), 1e-11),
    "zeta": Row(lax.zeta, ((1.5, 5.0), POSITIVE), 1e-11),
    "igamma": Row(lax.igamma, (POSITIVE, POSITIVE), 1e-11),
    "igammac": Row(lax.igammac, (POSITIVE, POSITIVE), 1e-11),
    "regularized_incomplete_beta": Row(lax.betainc, (POSITIVE, POSITIVE, (0.01, 0.99)), 1e-11),
    "bessel_i0e": Row(lax.bessel_i0e),
    "bessel_i1e": Row(lax.bessel_i1e),
    "eq": Row(lambda x: lax.eq(x, lax.floor(x))),
    "ne": Row(lambda x: lax.ne(x, lax.floor(x))),
    "lt": Row(lax.lt, (ANY, ANY)),
    "le": Row(lax.le, (ANY, ANY)),
    "gt": Row(lax.gt, (ANY, ANY)),
    "ge": Row(lax.ge, (ANY, ANY)),
    "lt_to": Row(lambda x, y: lax.lt_to_p.bind(x, y), (ANY, ANY)),
    "le_to": Row(lambda x, y: lax.le_to_p.bind(x, y), (ANY, ANY)),
    "eq_to": Row(lambda x, y: lax.eq_to_p.bind(x, y), (ANY, ANY)),
    "integer_pow": Row(lambda x: (lax.integer_pow(x, 3), lax.integer_pow(x, -2))),
    "round": Row(
        lambda x: (lax.round(x, lax.RoundingMethod.TO_NEAREST_EVEN), lax.round(x, lax.RoundingMethod.AWAY_FROM_ZERO))
    ),
    "is_finite": Row(lambda x: lax.is_finite(1 / lax.floor(x))),
    "convert_element_type": Row(
        lambda x: (x.astype(np.int32), x.astype(bool), x.astype(np.int32).astype(np.float64), (x > 0).astype(x.dtype))
    ),
    "bitcast_convert_type": Row(
        lambda x: lax.bitcast_convert_type(lax.bitcast_convert_type(x, np.int64) + 1, np.float64)
    ),
    "add_any": Row(jax.grad(lambda x: (jnp.sin(x) * x).sum())),
}
NEWER: dict[str, Row] = {
    "log2": Row(jnp.log2, (POSITIVE,)),
    "one_minus_square": Row(lambda x: lax.one_minus_square(x), (UNIT,)),  # type: ignore[attr-defined]
    "polynomial": Row(lambda x: lax.polynomial(x, [1.5, -0.25, 3.0, 0.0, 0.125])),  # type: ignore[attr-defined]
}
"""Primitives that only JAX 0.12 and later have."""
ELEMENTWISE |= {name: row for name, row in NEWER.items() if hasattr(lax, f"{name}_p")}


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_elementwise(name: str) -> None:
    row = ELEMENTWISE[name]
    rng = np.random.default_rng(len(name))
    arguments = [rng.uniform(*ends, (3, 7)) for ends in row.domain]
    # Rounding and comparisons differ at halves, whole numbers and zero.
    if row.domain[0] == ANY:
        arguments[0][0] = [-2.5, -1.5, -1.0, 0.0, 0.5, 1.5, 2.0]
    assert name in agree(row.function, *arguments, rtol=row.rtol)
    assert name in agree(row.function, *[argument[0, 0] for argument in arguments], rtol=row.rtol)


def test_all_rules_are_tried() -> None:
    assert set(ELEMENTWISE) | set(NEWER) == set(elementwise.REAL)


@pytest.mark.parametrize(
    ("function", "x", "expected"),
    [
        (lax.log, 0.0, -np.inf),
        (lax.log, -1.0, np.nan),
        (lax.sqrt, -1.0, np.nan),
        (lax.rsqrt, 0.0, np.inf),
        (lambda x: 1 / x, 0.0, np.inf),
        (lambda x: x / x, 0.0, np.nan),
        (lambda x: lax.exp(-1 / x), 0.0, 0.0),
        (lambda x: lax.tanh(1 / x), 0.0, 1.0),
        (lambda x: lax.logistic(-1 / x), 0.0, 0.0),
        (lambda x: lax.pow(x, x - 1), 0.0, np.inf),
        (lambda x: lax.pow(x, 0.5), -1.0, np.nan),
        (lambda x: lax.pow(x, 3.0), -2.0, -8.0),
        (lambda x: lax.integer_pow(x, -1), 0.0, np.inf),
        (lambda x: lax.max(x, x / x), 0.0, np.nan),
        (lambda x: lax.min(x / x, x), 0.0, np.nan),
        (lax.asin, 2.0, np.nan),
        (lax.acosh, 0.5, np.nan),
        (lax.atanh, 1.0, np.inf),
        (lax.erf_inv, 1.0, np.inf),
        (lax.lgamma, -1.0, np.inf),
        (lax.digamma, -1.0, np.nan),
        (lambda x: lax.rem(x, 0 * x), 1.0, np.nan),
        (lambda x: lax.rem(1 / x, x + 2), 0.0, np.nan),
        (lambda x: lax.rem(x, x / x), 0.0, np.nan),
        (lambda x: lax.rem(x - 3, 1 / x), 0.0, -3.0),
        (lambda x: lax.atan2(1 / x, -1 / x), 0.0, 0.75 * np.pi),
        (lambda x: lax.atan2(-1 / x, x + 1), 0.0, -np.pi / 2),
        (lambda x: lax.atan2(x - 1, -1 / x), 0.0, -np.pi),
        (lambda x: lax.atan2(x - 1, 1 / x), 0.0, 0.0),
        (lambda x: lax.atan2(x / x, x + 1), 0.0, np.nan),
        (lambda x: lax.pow(x + 1, x / x), 0.0, 1.0),
        (lambda x: lax.pow(x - 1, -1 / x), 0.0, 1.0),
        (lambda x: lax.pow(x - 2, 1 / x), 0.0, np.inf),
        (lambda x: lax.pow(x + 2, -1 / x), 0.0, 0.0),
        (lambda x: lax.pow(-1 / x, x + 0.5), 0.0, np.inf),
        (lambda x: lax.pow(-1 / x, x + 3), 0.0, -np.inf),
        (lambda x: lax.pow(1 / x, x - 3), 0.0, 0.0),
        (lambda x: lax.bessel_i0e(1 / x), 0.0, 0.0),
        (lambda x: lax.bessel_i1e(-1 / x), 0.0, 0.0),
        (lambda x: jnp.logaddexp(-1 / x, -1 / x), 0.0, -np.inf),
    ],
)
def test_the_ends_of_the_domain(function: Callable[..., Any], x: float, expected: float) -> None:
    found, theirs, _ = evaluated(function, x)
    np.testing.assert_equal(nearest(found[0])[()] + 0.0, expected)
    np.testing.assert_equal(theirs[0][()] + 0.0, expected)


def test_functions_are_right_to_all_digits() -> None:
    """With 60 digits, tanh and exp satisfy their identities far beyond float64."""
    program = jax.make_jaxpr(lambda x: (lax.tanh(x), lax.exp(x), lax.exp(-x), lax.log(lax.exp(x)) - x))(0.3)
    tanh, up, down, zero = machine(DIGITS, WORK).start(program, [np.asarray(0.3)])
    assert abs((up - down) / (up + down) - tanh) < 1e-58
    assert abs(zero) < 1e-58
