"""Verdicts of high precision on log-determinants and inverses: right just within each bound, wrong just beyond it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mathdnn_jax.testing.high_precision.point import Point
from mathdnn_jax.testing.high_precision.verdict import moved

from .verdicts import TOLERANCE, Result, X, log_det_verdict_at, one_way, round_trip_verdict_at


@pytest.fixture(autouse=True)
def _in_float64() -> Iterator[None]:
    with jax.enable_x64(True):
        yield


def matrix(least: float) -> np.ndarray:
    """Return [[1, 1], [1, 1 + least]], which is exact if `least` is a power of two."""
    return np.array([[1.0, 1.0], [1.0, 1.0 + least]])


def product(a: Any, off: float = 0.0) -> Callable[[jax.Array], Result]:
    """A x, where A is a constant of exact numbers, with a log_det that is off by `off`."""

    def function(x: jax.Array) -> Result:
        b = jnp.asarray(a)
        return b @ x, jnp.linalg.slogdet(b)[1] + off

    return function


LEAST = 2.0**-46
LOG_DET = float(np.log(LEAST))
ALLOWED = TOLERANCE * (1 - LOG_DET)


def test_a_formula_is_held_to_the_tolerance_however_ill_conditioned_the_case() -> None:
    """The condition is 2⁴⁸, so float64 would allow log_det to be off by thousands."""
    assert log_det_verdict_at(product(matrix(LEAST)), X).kind == "right"
    assert log_det_verdict_at(product(matrix(LEAST), 0.9 * ALLOWED), X).kind == "right"
    for off in (1.1 * ALLOWED, -1.1 * ALLOWED, 1e-3):
        verdict = log_det_verdict_at(product(matrix(LEAST), off), X)
        assert verdict.kind == "wrong"
        assert verdict.log_det - verdict.expected == pytest.approx(off, rel=1e-6)
        assert verdict.expected == pytest.approx(LOG_DET)


def test_a_computed_constant_explains_what_its_rounding_does() -> None:
    """NumPy's log_det of a matrix of condition κ is off by about κ ε, and by no more than 256 κ ε."""
    rng = np.random.default_rng(0)
    a = rng.normal(size=(3, 3))
    a[2] = a[0] + a[1] + 1e-10 * rng.normal(size=3)
    log_det = np.linalg.slogdet(a)[1]
    condition = np.linalg.cond(a)

    def function(off: float) -> Callable[[jax.Array], Result]:
        return lambda x: (jnp.asarray(a) @ x, jnp.asarray(log_det + off))

    assert 1e9 < condition < 1e12
    right = log_det_verdict_at(function(0.0), np.ones(3))
    assert right.kind == "right"
    assert right.decisive
    wrong = log_det_verdict_at(function(2000 * condition * 2.0**-52), np.ones(3))
    assert wrong.kind == "wrong"
    assert TOLERANCE * (1 - log_det) < wrong.allowed < 1000 * condition * 2.0**-52
    # If the program computes log_det itself, it follows the matrix, and there is nothing to explain.
    inside = log_det_verdict_at(
        lambda x: (jnp.asarray(a) @ x, jnp.linalg.slogdet(jnp.asarray(a))[1] + 1e-7), np.ones(3)
    )
    assert inside.kind == "wrong"
    assert inside.allowed == pytest.approx(TOLERANCE * (1 + abs(inside.expected)))


def test_if_constants_may_make_the_matrix_singular_log_det_may_lie_beyond_but_not_before() -> None:
    """The determinant is 10⁻¹⁷, and 64 roundings of the entries change it to 10⁻¹⁵."""
    a = np.array([[0.1, 0.3], [0.2, 0.6 * (1 + 2.0**-52)]])

    def constant(log_det: float) -> Callable[[jax.Array], Result]:
        return lambda x: (jnp.asarray(a) @ x, jnp.asarray(log_det))

    def solved(log_det: float) -> Callable[[jax.Array], Result]:
        return lambda x: (jnp.linalg.solve(jnp.asarray(a), x), jnp.asarray(log_det))

    for function, sign in ((constant, -1), (solved, 1)):
        explained = log_det_verdict_at(function(sign * 80.0), X)
        assert explained.kind == "right"
        assert not explained.decisive
        assert log_det_verdict_at(function(0.0), X).kind == "wrong"


def test_poor_arithmetic_is_distinguished_from_a_wrong_formula() -> None:
    right = log_det_verdict_at(product(matrix(0.5)), X)
    assert right.kind == "right"
    poor = log_det_verdict_at(product(matrix(0.5)), X, right.log_det + 1e-6)
    assert poor.kind == "poor"
    assert poor.log_det == pytest.approx(np.log(0.5))
    assert 1e-9 < poor.allowed < 1e-7
    assert log_det_verdict_at(product(matrix(0.5)), X, right.log_det + 0.9 * poor.allowed).kind == "right"
    assert log_det_verdict_at(product(matrix(0.5)), X, -np.inf).kind == "poor"
    # The condition of the case and rounding in sums and solves explain a lot if both are large.
    assert log_det_verdict_at(product(matrix(LEAST)), X, LOG_DET + 1.0).kind == "right"
    assert log_det_verdict_at(product(matrix(2.0**-52)), X, -np.inf).kind == "right"


def test_a_round_trip_is_held_to_the_tolerance_however_ill_conditioned_the_case() -> None:
    def solved(off: float) -> Callable[[jax.Array], Result]:
        return lambda z: (jnp.linalg.solve(jnp.asarray(matrix(LEAST)), z) + off, jnp.zeros(()))

    there = product(matrix(LEAST))
    assert round_trip_verdict_at(there, solved(0.0), X).kind == "right"
    assert round_trip_verdict_at(there, solved(1.9e-9), X).kind == "right"
    wrong = round_trip_verdict_at(there, solved(3.1e-9), X)
    assert wrong.kind == "wrong"
    np.testing.assert_allclose(wrong.back - X, 3.1e-9, rtol=1e-6)
    np.testing.assert_allclose(wrong.allowed, TOLERANCE * (1 + abs(X)))
    # float64 may return anything here, because two roundings of z move x by a hundredth, and so does elimination.
    assert round_trip_verdict_at(there, solved(0.0), X, X + 0.3).kind == "right"
    assert (
        round_trip_verdict_at(product(matrix(0.5)), lambda z: product(np.linalg.inv(matrix(0.5)))(z), X, X + 1e-6).kind
        == "poor"
    )


def test_a_computed_inverse_explains_what_its_rounding_does() -> None:
    a = np.random.default_rng(1).normal(size=(3, 3)) + 1e5
    inverse = np.linalg.inv(a)
    condition = np.linalg.cond(a)
    assert 1e5 < condition < 1e7
    there = product(a)

    def back(off: float) -> Callable[[jax.Array], Result]:
        return lambda z: (jnp.asarray(inverse) @ z + off, jnp.zeros(()))

    assert round_trip_verdict_at(there, back(0.0), np.ones(3)).kind == "right"
    verdict = round_trip_verdict_at(there, back(1e4 * condition * 2.0**-52), np.ones(3))
    assert verdict.kind == "wrong"
    assert (verdict.allowed < 1e3 * condition * 2.0**-52).all()


def test_an_inverse_that_iterates_is_right_to_float64() -> None:
    """Bisection is off by 2⁻⁵² in x, which the steep map after it turns into 2⁻⁵² · 2³⁰ in z."""

    @jax.custom_jvp
    def root(z: jax.Array) -> jax.Array:
        def halve(_: int, ends: Any) -> Any:
            middle = (ends[0] + ends[1]) / 2
            beyond = 2.0**30 * middle > z
            return jnp.where(beyond, ends[0], middle), jnp.where(beyond, middle, ends[1])

        ends: tuple[jax.Array, jax.Array] = jnp.full(z.shape, -3.0), jnp.full(z.shape, 3.0)
        low: jax.Array = jax.lax.fori_loop(0, 55, halve, ends)[0]
        return low

    root.defjvp(lambda primals, tangents: (root(*primals), tangents[0] / 2.0**30))

    def halved(z: jax.Array) -> Result:
        return root(z), jnp.asarray(-60 * jnp.log(2.0))

    def steep(off: float) -> Callable[[jax.Array], Result]:
        return lambda x: (2.0**30 * x + off, jnp.zeros(()))

    z = np.array([2.0**30 * 1.3, 2.0**30 / 3])
    assert round_trip_verdict_at(halved, steep(0.0), z).kind == "right"
    assert round_trip_verdict_at(halved, steep(1e3), z).kind == "wrong"


def test_a_log_det_that_iterates_is_right_to_float64_at_the_condition() -> None:
    def near_singular(x: jax.Array) -> jax.Array:
        return jnp.stack([x[0] + x[1], x[0] + x[1] + 2.0**-27 * x[1]])

    def iterating(off: float) -> Callable[[jax.Array], Result]:
        return lambda x: (near_singular(x), jax.lax.fori_loop(0, 1, lambda _, y: y + off, -27 * jnp.log(2.0)))

    # The condition is about 5 · 2²⁷, and 64 ε times that is 10⁻⁵.
    assert log_det_verdict_at(iterating(1e-6), X).kind == "right"
    assert log_det_verdict_at(iterating(1e-3), X).kind == "wrong"
    assert log_det_verdict_at(lambda x: (near_singular(x), -27 * jnp.log(2.0) + 1e-6), X).kind == "wrong"


def test_rounding_moves_a_value_by_the_condition_that_it_hides() -> None:
    """A, then A⁻¹, which is the identity, but rounding moves its value by the condition of A."""

    def there_and_back(least: float) -> Point:
        a = jnp.asarray(matrix(least))
        return Point(one_way(lambda x: (jnp.linalg.solve(a, a @ x), jnp.zeros(())), 2), None, None, X)

    small, large = (moved(there_and_back(least), 2.0**-46) for least in (2.0**-5, 2.0**-20))
    assert small.value.max() < 1e-11
    assert 1e-10 < large.value.max() < 1e-5
    assert np.isinf(moved(there_and_back(2.0**-44), 2.0**-46).value).any()
    assert moved(there_and_back(2.0**-20), 2.0**-46, everything=False).value.max() == 0
