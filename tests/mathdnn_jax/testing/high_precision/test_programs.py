"""Programs in high precision: loops, branches, calls, derivative rules, constants, work."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from mathdnn_jax.testing.high_precision.interpreter import machine
from mathdnn_jax.testing.high_precision.machine import Machine
from mathdnn_jax.testing.high_precision.matrix import inverse, log_abs_det
from mathdnn_jax.testing.high_precision.numbers import Arithmetic, UnresolvedError, nearest
from mathdnn_jax.testing.high_precision.rounding import Rounding, inexact

LINE = np.array([0.3, -1.2, 2.0])


@pytest.fixture(autouse=True)
def _in_float64() -> Iterator[None]:
    with jax.enable_x64(True):
        yield


def run(function: Callable[..., Any], *arguments: Any, **options: Any) -> tuple[Any, Machine]:
    used = machine(**{"digits": 60, "work": 1e6, **options})
    program = jax.make_jaxpr(function)(*arguments)
    return used.start(program, [np.asarray(leaf) for leaf in jax.tree.leaves(arguments)]), used


@jax.custom_jvp
def clipped(x: jax.Array) -> jax.Array:
    return jnp.where(x > 0, x, 0.1 * x)


clipped.defjvp(lambda primals, tangents: (clipped(*primals), 3.0 * tangents[0]))


@jax.custom_vjp
def doubled(x: jax.Array) -> jax.Array:
    return 2 * x


doubled.defvjp(lambda x: (doubled(x), None), lambda _, cotangent: (5 * cotangent,))


def bisected(x: jax.Array) -> jax.Array:
    def halve(ends: Any) -> Any:
        middle = (ends[0] + ends[1]) / 2
        return jnp.where(middle**3 > x, ends[0], middle), jnp.where(middle**3 > x, middle, ends[1])

    return lax.while_loop(lambda ends: ends[1] - ends[0] > 1e-12, halve, (x - x - 3.0, x - x + 3.0))[0]


PROGRAMS: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
    "jit": (jax.jit(lambda x: jnp.sin(x) + 1), (LINE,)),
    "jit in jit": (jax.jit(lambda x: jax.nn.softplus(jax.nn.silu(x))), (LINE,)),
    "checkpoint": (jax.jacfwd(jax.checkpoint(lambda x: jnp.sin(x) ** 2)), (LINE,)),
    "custom_jvp": (lambda x: (clipped(x), jax.jacfwd(clipped)(x)), (LINE,)),
    "custom_vjp": (lambda x: (doubled(x), jax.jacrev(doubled)(x)), (LINE,)),
    "custom_root": (
        lambda x: lax.custom_root(lambda y: y**3 - x, x, lambda _, x: jnp.cbrt(x), lambda g, y: y / g(1.0)),
        (np.asarray(0.7),),
    ),
    "scan": (lambda x: lax.scan(lambda carry, row: (carry * row + 1, carry - row), 0.5, x), (LINE,)),
    "scan backwards": (lambda x: lax.scan(lambda c, row: (c + row, c * row), 0.5, x, reverse=True), (LINE,)),
    "scan without rows": (lambda x: lax.scan(lambda c, _: (c * 1.5, None), x, None, length=4), (LINE,)),
    "scan of nothing": (lambda x: lax.scan(lambda c, row: (c + row, c), x[0], x[:0]), (LINE,)),
    "scan differentiated": (jax.jacfwd(lambda x: lax.scan(lambda c, r: (jnp.sin(c * r), c), 0.5, x)), (LINE,)),
    "fori_loop": (lambda x: lax.fori_loop(0, 5, lambda k, y: y * x + k, x), (LINE,)),
    "while": (bisected, (np.asarray(1.7),)),
    "while under vmap": (jax.vmap(bisected), (LINE,)),
    "while of rows": (
        jax.vmap(lambda x: lax.while_loop(lambda y: y.sum() < 9, lambda y: 2 * abs(y) + 1, jnp.stack([x, x]))),
        (LINE,),
    ),
    "cond": (lambda x: lax.cond(x.sum() > 0, jnp.sin, jnp.cos, x), (LINE,)),
    "switch": (lambda x, k: lax.switch(k, [jnp.sin, jnp.cos, jnp.tan], x), (LINE, 1)),
    "switch beyond its branches": (lambda x, k: lax.switch(k, [jnp.sin, jnp.cos, jnp.tan], x), (LINE, 7)),
    "cond under vmap": (jax.vmap(lambda x: lax.cond(x > 0, jnp.sin, jnp.cos, x)), (LINE,)),
    "diagonal by platform": (lambda x: jnp.diagonal(jnp.outer(x, x)), (LINE,)),
    "solve": (lambda x: jnp.linalg.solve(jnp.outer(x, x) + jnp.eye(3), x), (LINE,)),
    "solve differentiated": (jax.jacfwd(lambda x: jnp.linalg.solve(jnp.outer(x, x) + jnp.eye(3), x)), (LINE,)),
    "slogdet differentiated": (jax.jacfwd(lambda x: jnp.linalg.slogdet(jnp.outer(x, x) + jnp.eye(3))[1]), (LINE,)),
    "exponential of a matrix": (lambda x: jax.scipy.linalg.expm(jnp.outer(x, x)), (LINE,)),
    "interpolation": (lambda x: jnp.interp(x, jnp.array([-2.0, 0.0, 3.0]), jnp.array([1.0, 2.0, 9.0])), (LINE,)),
    "logsumexp": (jax.nn.logsumexp, (LINE,)),
    "integers": (lambda k: ((k**2 % 7) // 2, k << 1, -abs(k), k > 3, lax.population_count(k)), (np.arange(-3, 9),)),
    "median": (jnp.median, (LINE,)),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_returns_what_jax_returns(name: str) -> None:
    function, arguments = PROGRAMS[name]
    found, _ = run(function, *arguments)
    expected = jax.tree.leaves(jax.jit(function)(*arguments))
    assert len(found) == len(expected)
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.shape == theirs.shape
        np.testing.assert_allclose(nearest(ours), np.asarray(theirs, np.float64), rtol=1e-11, atol=1e-11)


def test_what_a_machine_records_about_a_program() -> None:
    def seen(function: Callable[..., Any]) -> tuple[bool, bool, bool]:
        _, used = run(function, LINE)
        return used.narrow, used.approximate, used.uncertain

    assert seen(lambda x: 2 * x + 0.5) == (False, False, False)
    assert seen(lambda x: x.astype(np.float32).astype(np.float64)) == (True, False, False)
    assert seen(lambda x: lax.reduce_precision(x, 11, 23)) == (True, False, False)
    assert seen(lambda x: lax.reduce_precision(x, 11, 52)) == (False, False, False)
    assert seen(lambda x: lax.fori_loop(0, 3, lambda _, y: y / 2, x)) == (False, True, False)
    assert seen(lambda x: lax.bitcast_convert_type(x, np.int64)) == (False, True, False)
    assert seen(lambda x: x + 0.1) == (False, False, True)
    assert seen(lambda x: x + 10000.0) == (False, False, False)
    assert seen(lambda x: x * np.array([1.0, 0.5, 0.0])) == (False, False, False)
    assert seen(lambda x: x * np.array([1.0, 0.5, 10000.0])) == (False, False, True)


def test_a_narrower_type_changes_nothing() -> None:
    (found,), _ = run(lambda x: lax.reduce_precision(x.astype(np.float32), 8, 7).astype(np.float64), LINE)
    np.testing.assert_array_equal(nearest(found), LINE)


def test_work_is_bounded_and_grows_with_the_digits() -> None:
    spent = [1e6 - run(lambda x: jnp.tanh(x), LINE, digits=digits)[1].work for digits in (60, 1000)]
    assert spent[1] > 5 * spent[0] > 0
    with pytest.raises(UnresolvedError, match="too long"):
        run(lambda x: jnp.tanh(x), LINE, work=20)


def test_equal_constants_are_moved_alike_and_exact_ones_not_at_all() -> None:
    matrix = np.array([[0.1, 1.0], [0.0, 2.0]])

    def ratio(x: jax.Array) -> Any:
        return (x * matrix) / matrix[0, 0], (x + 0.3) - (x + 0.3), x * 0.5

    rounding = Rounding(1e-10, 3, everything=False)
    moved, exact = run(ratio, np.asarray(1.0), rounding=rounding)[0], run(ratio, np.asarray(1.0))[0]
    # 0.1 is moved both in an array and as a single number. A constant that occurs twice is moved alike.
    assert 0 < abs(moved[0][0, 0] - exact[0][0, 0]) < 1e-9
    assert moved[1] == 0
    assert moved[2] == exact[2]
    again = run(lambda x: x * matrix, np.asarray(1.0), rounding=rounding)[0]
    other = run(lambda x: x * matrix, np.asarray(1.0), rounding=Rounding(1e-10, 4, everything=False))[0]
    assert again[0][0, 0] != other[0][0, 0]
    assert [again[0][0, 1], again[0][1, 0], again[0][1, 1]] == [1, 0, 2]
    np.testing.assert_array_equal(inexact(matrix), [[True, False], [False, False]])


def test_sums_are_moved_by_their_terms_and_inputs_by_themselves() -> None:
    def moved(function: Callable[..., Any], x: np.ndarray) -> float:
        (found,), _ = run(function, x, rounding=Rounding(1e-10, 0, everything=True))
        return float(abs(nearest(found) - np.asarray(function(x))))

    big = np.array([1e6, -1e6, 1.0])
    assert 1e-6 < moved(jnp.sum, big) < 1e-3
    assert 1e-6 < moved(lambda x: x @ np.ones(3), big) < 1e-3
    # Powers of two are exact, so only the sums are moved here.
    powers = np.array([2.0**20, -(2.0**20), 2.0])
    for accumulate, size in ((jnp.cumsum, 2.0**21), (jnp.cumprod, 2.0**41), (lax.cumlogsumexp, 2.0**20)):
        assert 1e-14 * size < moved(lambda x, f=accumulate: f(0 * x + powers)[-1], np.zeros(3)) < 2e-10 * size
    # Elementwise steps are taken as exact, because it is the formula's fault if they cancel.
    assert moved(lambda x: (x + 2.0**20) - 2.0**20, np.asarray(1.0)) < 2e-10


def test_a_pivot_that_rounding_may_make_zero_is_noted() -> None:
    def solved(least: float) -> Callable[[Any], Any]:
        return lambda x: jnp.linalg.solve(jnp.array([[1.0, 1.0], [1.0, 1.0 + least]]), x)

    rounding = Rounding(1e-10, 0, everything=True)
    assert not run(solved(1e-6), np.ones(2), rounding=rounding)[1].broken
    assert run(solved(1e-12), np.ones(2), rounding=rounding)[1].broken
    assert not run(solved(1e-12), np.ones(2))[1].broken


@pytest.mark.parametrize("size", [1, 2, 5])
def test_determinant_and_inverse_of_many_digits(size: int) -> None:
    used = machine(60, 1e6)
    rng = np.random.default_rng(size)
    for _ in range(5):
        matrix = rng.normal(size=(size, size))
        sign, log_det = log_abs_det(used, used.numbers.exact(matrix))
        expected = np.linalg.slogdet(matrix)
        assert sign == expected[0]
        assert float(log_det) == pytest.approx(expected[1], abs=1e-12)
        exact = used.numbers.exact(matrix)
        back = inverse(used, exact)
        assert back is not None
        assert np.abs(nearest(back @ exact - used.numbers.exact(np.eye(size)))).max() < 1e-50


def test_a_hilbert_matrix_is_not_singular_but_a_repeated_row_is() -> None:
    used = machine(60, 1e6)
    hilbert = used.numbers.exact(1) / (np.arange(12)[:, None] + np.arange(12) + used.numbers.exact(1))
    # det Hₙ = cₙ⁴ / c₂ₙ with cₙ = 1! 2! … (n − 1)!
    c, d = (math.prod(map(math.factorial, range(1, n))) for n in (12, 24))
    assert float(log_abs_det(used, hilbert)[1]) == pytest.approx(4 * math.log(c) - math.log(d), rel=1e-13)
    twice = used.numbers.exact(np.ones((2, 2)))
    assert log_abs_det(used, twice) == (0, -used.numbers.context.inf)
    assert inverse(used, twice) is None
    with pytest.raises(UnresolvedError, match="not finite"):
        log_abs_det(used, used.numbers.exact(np.array([[np.nan]])))


def test_conversion_is_exact_and_rounds_to_the_nearest() -> None:
    numbers = Arithmetic(60)
    values = np.array([0.1, -0.0, 1e-310, 1e308, np.inf, np.pi])
    np.testing.assert_array_equal(nearest(numbers.exact(values)), values)
    assert numbers.exact(np.asarray(2**60 + 1))[()] == 2**60 + 1
    np.testing.assert_array_equal(nearest(numbers.exact(values) * numbers.exact(1e300))[[3, 4]], [np.inf, np.inf])
