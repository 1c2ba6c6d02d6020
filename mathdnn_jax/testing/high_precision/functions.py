"""Functions of single numbers under the names of JAX's primitives, with the same limits and NaNs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mathdnn_jax.testing.high_precision.numbers import LARGEST_EXPONENT, Number, UnresolvedError


def functions(c: Any) -> dict[str, Callable[..., Number]]:
    """Return the functions for a context of `mpmath`.

    Outside its domain a function is NaN, as in floating point, not complex. Zero has no sign, so 1 / 0 is +∞. If its
    argument is so large that the evaluation would take too long, a function raises `UnresolvedError`.
    """
    zero, one, inf, nan = c.mpf(0), c.mpf(1), c.inf, c.nan

    def on(low: Number, high: Number, function: Callable[[Number], Number]) -> Callable[[Number], Number]:
        """Restrict a function to [low, high]; it is NaN elsewhere."""
        return lambda x: function(x) if low <= x <= high else nan

    def reduced(function: Callable[[Number], Number]) -> Callable[[Number], Number]:
        def guarded(x: Number) -> Number:
            if c.isfinite(x) and x != 0 and c.mag(x) > LARGEST_EXPONENT:
                raise UnresolvedError("an argument is too large for high precision")
            return function(x)

        return guarded

    def exponential(function: Callable[[Number], Number]) -> Callable[[Number], Number]:
        def guarded(x: Number) -> Number:
            if c.isfinite(x) and abs(x) > 1e7:
                raise UnresolvedError("an exponential is too large or too small for high precision")
            return function(x)

        return guarded

    def divide(x: Number, y: Number) -> Number:
        if y == 0:
            return inf if x > 0 else -inf if x < 0 else nan
        return x / y

    def power(x: Number, y: Number) -> Number:
        if y == 0 or x == 1:
            return one
        if c.isnan(x) or c.isnan(y):
            return nan
        if c.isinf(y) and abs(x) == 1:
            return one
        if c.isinf(y):
            return inf if (abs(x) > 1) == (y > 0) else zero
        if x == 0 or c.isinf(x):
            size = inf if (x == 0) == (y < 0) else zero
            return -size if x < 0 and c.isint(y) and int(y) % 2 else size
        if x < 0 and not c.isint(y):
            return nan
        if not c.isint(y):
            return exponential(c.exp)(y * c.log(x))
        if abs(y) > 1e7:
            raise UnresolvedError("a power is too large or too small for high precision")
        return c.power(x, y)

    def log_abs_gamma(x: Number) -> Number:
        if x <= 0 and (x == -inf or c.isint(x)):
            return inf
        return c.loggamma(x) if x > 0 else c.log(abs(c.gamma(x)))

    def logistic(x: Number) -> Number:
        return one / (one + exponential(c.exp)(-x))

    def maximum(x: Number, y: Number) -> Number:
        return x + y if c.isnan(x) or c.isnan(y) else max(x, y)

    def minimum(x: Number, y: Number) -> Number:
        return x + y if c.isnan(x) or c.isnan(y) else min(x, y)

    def truncate(x: Number) -> Number:
        return c.floor(x) if x >= 0 else c.ceil(x)

    def remainder(x: Number, y: Number) -> Number:
        if y == 0 or c.isnan(y) or not c.isfinite(x):
            return nan
        return x if c.isinf(y) else x - y * truncate(x / y)

    def angle(y: Number, x: Number) -> Number:
        if c.isnan(x) or c.isnan(y):
            return nan
        if c.isinf(y):
            # The point lies at infinity, in the direction of an axis or a diagonal.
            return c.atan2(c.sign(y), c.sign(x) if c.isinf(x) else zero)
        if c.isinf(x):
            return zero if x > 0 else -c.pi if y < 0 else +c.pi
        return c.atan2(y, x)

    def bessel(order: int) -> Callable[[Number], Number]:
        return reduced(lambda x: zero if c.isinf(x) else c.exp(-abs(x)) * c.besseli(order, x))

    return {
        "div": divide,
        "pow": power,
        "rem": remainder,
        "max": maximum,
        "min": minimum,
        "clamp": lambda low, x, high: minimum(maximum(x, low), high),
        "atan2": angle,
        "square": lambda x: x * x,
        "sign": lambda x: x if c.isnan(x) else c.sign(x),
        "floor": c.floor,
        "ceil": c.ceil,
        "round_to_even": c.nint,
        "round_away": lambda x: c.sign(x) * c.floor(abs(x) + one / 2) if c.isfinite(x) else x,
        "exp": exponential(c.exp),
        "exp2": exponential(lambda x: c.power(2, x) if c.isfinite(x) else c.exp(x)),
        "expm1": exponential(c.expm1),
        "log": on(zero, inf, c.log),
        "log2": on(zero, inf, lambda x: c.log(x, 2)),
        "log1p": on(-one, inf, c.log1p),
        "sqrt": on(zero, inf, c.sqrt),
        "rsqrt": on(zero, inf, lambda x: divide(one, c.sqrt(x))),
        "cbrt": lambda x: c.cbrt(x) if x >= 0 else -c.cbrt(-x),
        "logistic": logistic,
        "tanh": c.tanh,
        "sinh": exponential(c.sinh),
        "cosh": exponential(c.cosh),
        "sin": reduced(c.sin),
        "cos": reduced(c.cos),
        "tan": reduced(c.tan),
        "asin": on(-one, one, c.asin),
        "acos": on(-one, one, c.acos),
        "atan": c.atan,
        "asinh": reduced(c.asinh),
        "acosh": on(one, inf, reduced(c.acosh)),
        "atanh": on(-one, one, c.atanh),
        "erf": c.erf,
        "erfc": reduced(c.erfc),
        "erf_inv": on(-one, one, c.erfinv),
        "lgamma": reduced(log_abs_gamma),
        "digamma": reduced(lambda x: nan if x <= 0 and (x == -inf or c.isint(x)) else c.digamma(x)),
        "polygamma": lambda m, x: c.psi(int(m), x) if c.isint(m) and m >= 0 and x > 0 else nan,
        "zeta": lambda x, q: c.zeta(x, q) if x > 1 and q > 0 else nan,
        "igamma": lambda a, x: c.gammainc(a, 0, x, regularized=True) if a > 0 and x >= 0 else nan,
        "igammac": lambda a, x: c.gammainc(a, x, inf, regularized=True) if a > 0 and x >= 0 else nan,
        "regularized_incomplete_beta": lambda a, b, x: (
            c.betainc(a, b, 0, x, regularized=True) if a > 0 and b > 0 and 0 <= x <= 1 else nan
        ),
        "bessel_i0e": bessel(0),
        "bessel_i1e": bessel(1),
    }
