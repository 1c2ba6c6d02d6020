"""How many digits a case needs, which maps are singular with any number of digits, and what no number can resolve."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mathdnn_jax.testing.differences import DERIVATIVE_TOLERANCE, Differences
from mathdnn_jax.testing.high_precision.derivative import exact_differences
from mathdnn_jax.testing.high_precision.interpreter import machine
from mathdnn_jax.testing.high_precision.matrix import log_abs_det
from mathdnn_jax.testing.high_precision.numbers import Arithmetic, UnresolvedError
from mathdnn_jax.testing.high_precision.point import Point
from mathdnn_jax.testing.high_precision.settle import Derived, Value, settled_derived, settled_value

from .verdicts import Result, X, log_det_verdict_at, one_way, round_trip_verdict_at


@pytest.fixture(autouse=True)
def _in_float64() -> Iterator[None]:
    with jax.enable_x64(True):
        yield


def test_a_singular_determinant_shrinks_with_the_digits() -> None:
    def repeated(x: jax.Array) -> Result:
        return jnp.stack([x[0] / 3 + x[1] / 7, x[0] / 6 + x[1] / 14]), jnp.zeros(())

    assert log_det_verdict_at(repeated, X).kind == "singular"
    assert log_det_verdict_at(lambda x: (x - x.mean(), jnp.zeros(())), X).kind == "singular"
    assert log_det_verdict_at(lambda x: (0 * x + 1, jnp.log(jnp.zeros(()))), X).kind == "singular"
    # This is not singular, because a third is rounded.
    third = log_det_verdict_at(lambda x: (x - (1 / 3) * x.sum(), jnp.zeros(())), np.ones(3))
    assert third.kind == "wrong"
    assert -38 < third.expected < -35


def with_last_pivot(least: Callable[[int], int | None]) -> Callable[[int], Derived]:
    """Return [[1, 1], [1, 1 + 10^least(digits)]] for each number of digits. If `least` is None, nothing is added."""

    def differentiate(digits: int) -> Derived:
        used = machine(digits + 5, 1e6)
        one, power = used.numbers.one, least(digits)
        jacobian = np.full((2, 2), one, object)
        jacobian[1, 1] = one if power is None else one + used.numbers.context.mpf(10) ** power
        value = Value(digits, jacobian[0], used.numbers.zero, False, False, False, False, ())
        return Derived(value, jacobian, *log_abs_det(used, jacobian), singular=False)

    return differentiate


@pytest.mark.parametrize("by_chance", [60, 120, 1000])
def test_a_singular_matrix_whose_last_pivot_happens_to_be_zero_at_one_level(by_chance: int) -> None:
    found = settled_derived(with_last_pivot(lambda digits: None if digits == by_chance else -digits))
    assert found.singular
    assert found.computed.digits == 1000


def test_a_pivot_that_does_not_shrink_is_not_zero_however_small() -> None:
    found = settled_derived(with_last_pivot(lambda digits: None if digits == 60 else -75))
    assert not found.singular
    assert float(found.log_abs_det) == pytest.approx(-75 * np.log(10))


def test_a_pivot_that_shrinks_by_half_the_digits_is_not_decided() -> None:
    with pytest.raises(UnresolvedError, match="does not settle"):
        settled_derived(with_last_pivot(lambda digits: -digits // 2))


def test_results_agree_to_the_last_digit_of_float64() -> None:
    settled = settled_derived(with_last_pivot(lambda digits: -9 if digits == 60 else -10))
    assert settled.computed.digits == 240
    one = Arithmetic(60).one

    def evaluate(digits: int) -> Value:
        value = one + (one / 10**14 if digits == 60 else 0)
        return Value(digits, np.array([value], object), one, False, False, False, False, ())

    assert settled_value(evaluate, 0).digits == 240


def squashed(scale: float) -> Callable[[jax.Array], Result]:
    def function(x: jax.Array) -> Result:
        y = scale * x
        log_det = (2 * (jnp.log(2.0) - y - jax.nn.softplus(-2 * y)) + jnp.log(scale)).sum()
        return jnp.tanh(y), log_det

    return function


@pytest.mark.parametrize("scale", [10.0, 60.0, 150.0, 300.0])
def test_saturation_is_not_singularity(scale: float) -> None:
    """The slope is as small as 10⁻⁵²⁰, and it takes 1000 digits to compute it as 1 − tanh²."""
    verdict = log_det_verdict_at(squashed(scale), X)
    assert verdict.kind == "right"
    assert verdict.log_det == pytest.approx(verdict.expected, rel=1e-12)


def test_what_a_thousand_digits_cannot_resolve_is_not_decided() -> None:
    with pytest.raises(UnresolvedError, match="smaller than 1000 digits can resolve"):
        log_det_verdict_at(squashed(3000.0), X)
    with pytest.raises(UnresolvedError, match="complex128"):
        log_det_verdict_at(lambda x: (jnp.fft.irfft(jnp.fft.rfft(x), 2), jnp.zeros(())), X)
    with pytest.raises(UnresolvedError, match="NaN"):
        log_det_verdict_at(lambda x: (x, jnp.log(-jnp.ones(()))), X)
    with pytest.raises(UnresolvedError, match="not finite"):
        log_det_verdict_at(lambda x: (jnp.sqrt(abs(x)), jnp.zeros(())), np.zeros(2))


POWER = 600
"""0.3 and 0.7 to this power are 10⁻³¹⁴ and 10⁻⁹³. Next to 1, both vanish with 60 digits, and the first with 120."""


def there(x: jax.Array) -> Result:
    return 1 - x**POWER, (np.log(POWER) + (POWER - 1) * jnp.log(x)).sum()


def back(z: jax.Array) -> Result:
    return (1 - z) ** (1 / POWER), jnp.zeros(())


def test_a_log_det_that_two_levels_lose_alike_gets_more_digits() -> None:
    def by_value(x: jax.Array) -> Result:
        z, _ = there(x)
        return z, (np.log(POWER) + (1 - 1 / POWER) * jnp.log(1 - z)).sum()

    verdict = log_det_verdict_at(by_value, [0.3, 0.7])
    assert verdict.kind == "right"
    assert verdict.log_det == pytest.approx(verdict.expected)


def test_a_round_trip_that_two_levels_lose_alike_gets_more_digits() -> None:
    x = [0.3, 0.7]
    assert round_trip_verdict_at(there, back, x).kind == "right"
    assert round_trip_verdict_at(there, lambda z: (1.001 * back(z)[0], jnp.zeros(())), x).kind == "wrong"


def test_a_loss_that_the_jacobian_does_not_show_is_not_decided() -> None:
    """log_det adds inverse(forward(x)) − x, which is zero, or −x if too few digits lose it."""

    def log_det(x: jax.Array) -> jax.Array:
        found: jax.Array = (back(there(x)[0])[0] - x).sum()
        return found

    with pytest.raises(UnresolvedError, match="a difference is lost"):
        log_det_verdict_at(lambda x: (x, log_det(x)), [0.3, 0.7])
    assert log_det_verdict_at(lambda x: (x, (x - x).sum() + 0.1), [0.3, 0.7]).kind == "wrong"


def test_the_digits_follow_the_case() -> None:
    digits = [Point(one_way(squashed(scale), 2), None, None, X).derived.computed.digits for scale in (1.0, 60.0, 300.0)]
    assert digits == [120, 240, 1000]


def test_differences_in_high_precision_have_no_rounding() -> None:
    """In float64, two values of 1 + 10⁻¹² x do not show its slope."""
    tangents = np.array([[1e-6, -1e-6], [np.nan, np.nan]])

    def stopped(x: jax.Array) -> Result:
        return 1 + 1e-12 * (x + jax.lax.stop_gradient(x * x) / 50), jnp.zeros(())

    def at(function: Callable[[jax.Array], Result], x: np.ndarray) -> Differences:
        (found,) = exact_differences(Point(one_way(function, 2), None, None, x), tangents, 1e-9)
        return found

    right = at(lambda x: (1 + 1e-12 * jnp.sin(x), jnp.zeros(())), X)
    assert (right.excess <= 0).all()
    np.testing.assert_allclose(right.along, 1e-12 * np.cos(X) * tangents[0], rtol=1e-12)
    # It takes some 340 digits to distinguish 1 − 10⁻³¹⁴ from its neighbours.
    deep = at(there, np.array([0.3, 0.7]))
    assert (deep.excess <= 0).all()
    assert (abs(deep.along) > 0).all()
    wrong = at(stopped, X)
    np.testing.assert_allclose(wrong.gap, -1e-12 * X / 25 * tangents[0], rtol=1e-6)
    assert (wrong.excess > 0).all()
    with pytest.raises(UnresolvedError, match="no central difference"):
        at(lambda x: (jnp.sqrt(x), jnp.zeros(())), np.array([1e-9, 1.0]))
    np.testing.assert_allclose(wrong.excess, abs(wrong.gap) - DERIVATIVE_TOLERANCE * wrong.scale, rtol=1e-3)
