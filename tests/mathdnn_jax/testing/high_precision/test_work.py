"""The work of high precision is counted before it is done, priced realistically, and never done twice."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from mathdnn_jax.testing.high_precision.interpreter import machine
from mathdnn_jax.testing.high_precision.matrix import inverse, log_abs_det
from mathdnn_jax.testing.high_precision.numbers import Arithmetic, UnresolvedError, nearest
from mathdnn_jax.testing.high_precision.point import Point
from mathdnn_jax.testing.high_precision.prices import work_of, work_of_first
from mathdnn_jax.testing.high_precision.settle import MORE_WORK, WORK, Derived, Value, inverse_of

from .verdicts import X, one_way

MANY = 10_000_000
LARGE = np.zeros(MANY)
GRID = np.arange(40_000.0).reshape(1, 1, 200, 200)


@pytest.fixture(autouse=True)
def _in_float64() -> Iterator[None]:
    with jax.enable_x64(True):
        yield


def bound(x: Any) -> Any:
    """A loop of integer remainders, which JAX evaluates one by one."""
    return lax.fori_loop(0, 10_000, lambda k, y: y + x * (k % 7), x)


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        (lambda w, x: x * w[0], (LARGE, 1.0)),
        (lambda x: x * jnp.asarray(LARGE)[0], (1.0,)),
        (lambda x: x * lax.iota(np.float64, MANY)[3], (1.0,)),
        (lambda x: x * lax.iota(np.int32, MANY).astype(np.float64)[3], (1.0,)),
        (lambda x: jnp.broadcast_to(x, (MANY // 1000, 1000)).reshape(-1)[:3], (1.0,)),
        (lambda x: jnp.sort(lax.broadcast(x, (MANY,)))[0], (1.0,)),
        (lambda x: x * jnp.sort(lax.iota(np.int32, MANY))[0].astype(np.float64), (1.0,)),
        (lambda x: lax.conv_general_dilated(x * GRID, x * GRID[..., :20, :20], (1, 1), "SAME"), (1.0,)),
        (bound, (1.0,)),
    ],
)  # fmt: skip
def test_what_takes_too_long_is_refused_before_it_is_done(
    function: Callable[..., Any], arguments: tuple[Any, ...]
) -> None:
    program = jax.make_jaxpr(function)(*arguments)
    inputs = [np.asarray(argument) for argument in arguments]
    used = machine(60, WORK)
    tracemalloc.start()
    began = time.process_time()
    with pytest.raises(UnresolvedError, match="too long"):
        used.start(program, inputs)
    took, (_, peak) = time.process_time() - began, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # Integers are NumPy's and take at most eight bytes.
    assert peak < 10 * MANY
    assert took < 10


def test_sorting_and_evaluation_by_jax_have_a_price() -> None:
    def spent(function: Callable[[Any], Any], x: Any) -> float:
        used = machine(60, 1e6)
        used.start(jax.make_jaxpr(function)(x), [x if x.dtype.kind == "i" else used.numbers.exact(x)])
        return 1e6 - used.work

    line = np.random.default_rng(0).normal(size=1000)
    assert 3000 < spent(jnp.sort, line) < 30000
    assert spent(lambda k: lax.rem(k, k), np.asarray(7)) > 10 * spent(lambda k: lax.mul(k, k), np.asarray(7))


FUNCTIONS: dict[str, tuple[float, ...]] = {
    "div": (0.3, 0.7), "pow": (1.3, 0.3), "atan2": (1.0, 2.0), "exp": (0.37,), "log": (0.37,), "tanh": (0.37,),
    "asinh": (0.37,), "erf": (2.1,), "erfc": (6.1,), "erf_inv": (0.51,), "lgamma": (2.3,), "digamma": (2.7,),
    "polygamma": (2.0, 1.3), "zeta": (2.5, 1.3), "igamma": (1.3, 2.0), "igammac": (1.3, 2.0),
    "regularized_incomplete_beta": (1.3, 2.0, 0.3), "bessel_i0e": (2.0,),
}  # fmt: skip


@pytest.mark.long
@pytest.mark.parametrize("digits", [60, 240])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_prices_are_realistic(name: str, digits: int) -> None:
    """They are right within a factor of three on an idle machine, and must be within ten here."""
    numbers = Arithmetic(digits)
    least = np.inf
    for k in range(6):
        arguments = [numbers.context.mpf(x) for x in FUNCTIONS[name]]
        # The argument changes each time, because results are cached. An order that is a whole number stays.
        arguments[-1] += numbers.one / (700 + k)
        began = time.process_time()
        numbers.functions[name](*arguments)
        least = min(least, 1e6 * (time.process_time() - began))
    price = work_of(name, digits, 1, tuple(numbers.exact(np.asarray([x])) for x in FUNCTIONS[name]))
    assert least / 10 < price < 10 * max(least, 3)


def test_prices_grow_faster_than_the_digits_and_with_large_arguments() -> None:
    one = (np.ones(1),)
    for name in ("exp", "erf", "erf_inv", "digamma", "igammac"):
        assert work_of(name, 1000, 1, one) > 20 * work_of(name, 120, 1, one) > 0
    assert work_of("zeta", 1000, 1, one) > 5e5
    assert work_of("igamma", 60, 1, (np.array([1e4, np.inf]),)) > 10 * work_of("igamma", 60, 1, one)
    assert work_of("igamma", 60, 0, (np.zeros(0),)) == 0
    assert work_of_first("lgamma", 1000) > 1e6
    used = machine(240, 1e6)
    spent = []
    for _ in range(2):
        before = used.work
        used.spend_on("lgamma", 1)
        spent.append(before - used.work)
    assert spent[0] > 10 * spent[1]


def test_zeros_of_a_matrix_take_no_work() -> None:
    rng = np.random.default_rng(0)
    dense = rng.normal(size=(40, 40))
    work = []
    for matrix in (dense, np.tril(dense) + 10 * np.eye(40), np.eye(40)[rng.permutation(40)] * dense):
        used = machine(60, 1e7)
        exact = used.numbers.exact(matrix)
        sign, log_det = log_abs_det(used, exact)
        expected = np.linalg.slogdet(matrix)
        assert (sign, float(log_det)) == pytest.approx(expected)
        back = inverse(used, exact)
        assert back is not None
        np.testing.assert_allclose(nearest(back @ exact), np.eye(40), atol=1e-40)
        work.append(1e7 - used.work)
    assert work[0] > 1.5 * work[1] > 4 * work[2]
    assert 40**3 < work[0] < 10 * 40**3
    assert work[2] < 13 * 40**2


def test_the_work_on_an_inverse_is_counted() -> None:
    spent: list[float] = []
    point = Point(one_way(lambda x: (jnp.exp(x), x.sum()), 2), None, None, X, spend=spent.append)
    derived = point.derived
    before = sum(spent)
    assert inverse_of(derived, point.spend) is not None
    assert 0 < sum(spent) - before < MORE_WORK


def test_the_inverse_of_a_dense_matrix_of_64_rows_fits_the_budget() -> None:
    used = machine(120, WORK)
    jacobian = used.numbers.exact(np.random.default_rng(1).normal(size=(64, 64)))
    value = Value(120, jacobian[0], used.numbers.zero, False, False, False, False, ())
    spent: list[float] = []
    assert inverse_of(Derived(value, jacobian, 1, used.numbers.zero, singular=False), spent.append) is not None
    assert WORK < spent[0] < MORE_WORK


def test_an_evaluation_that_failed_is_not_tried_again() -> None:
    spent: list[float] = []
    one = one_way(lambda x: (jnp.fft.irfft(jnp.fft.rfft(jnp.exp(x)), 2), x.sum()), 2)
    point = Point(one, None, None, X, spend=spent.append)

    def fail() -> None:
        for get in (lambda: point.value, lambda: point.derived):
            with pytest.raises(UnresolvedError, match="complex128"):
                get()

    fail()
    count = len(spent)
    assert count == 2
    fail()
    assert len(spent) == count


def test_a_machine_keeps_literals_of_several_programs_apart() -> None:
    used = machine(60, 1e6)
    for k in range(200):
        program = jax.make_jaxpr(lambda x, k=k: x + (k + 0.5))(1.0)
        (found,) = used.start(program, [np.asarray(1.0)])
        del program
        assert found[()] == k + 1.5
