"""Kinks, clipped arguments, quantisers and iterations, which float64 cannot decide. Right maps pass, wrong ones fail.

`check_at` gives such events to the checker directly.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from mathdnn_jax.testing import BijectorCheckError, check_bijector, check_event
from mathdnn_jax.testing.cases import Case
from mathdnn_jax.testing.check_case import CaseChecker
from mathdnn_jax.testing.check_event import CheckState
from mathdnn_jax.testing.failure import Failure
from mathdnn_jax.testing.programs import direction
from mathdnn_jax.testing.support import box

Map = Callable[[jax.Array], tuple[jax.Array, jax.Array]]


@pytest.fixture(autouse=True)
def _in_float64() -> Iterator[None]:
    with jax.enable_x64(True):
        yield


def check_at(x: Any, forward: Map, inverse: Map | None = None) -> tuple[Failure | None, bool, CheckState]:
    """Return the failure at one event or None, whether its log_det was decided, and the state, which holds the work."""
    x = np.asarray(x, np.float64)
    support, precision = box(None, x.shape, "support"), CheckState(1e-9, float32=False)
    options = {"with_params": False, "batched": False, "gradients": False}
    there = direction("forward", forward, x.shape, x.shape, support, **options)
    back = None if inverse is None else direction("inverse", inverse, x.shape, x.shape, support, **options)
    failure, decided = CaseChecker(there, back, support, support, precision)(Case(None, None, x, None), False)
    return failure, decided, precision


def log_slope(x: jax.Array) -> jax.Array:
    """The logarithm of the slope of tanh."""
    y: jax.Array = 2 * (jnp.log(jnp.asarray(2, x.dtype)) - x - jax.nn.softplus(-2 * x))
    return y


def test_a_kink_at_zero_is_not_a_singularity_of_the_inverse() -> None:
    def symlog(x: jax.Array) -> Any:
        return jnp.sign(x) * jnp.log1p(jnp.abs(x)), -jnp.log1p(jnp.abs(x)).sum(-1)

    def symexp(z: jax.Array) -> Any:
        return jnp.sign(z) * jnp.expm1(jnp.abs(z)), jnp.abs(z).sum(-1)

    check_bijector(symlog, symexp, event_shape=(2,), float32=False, gradients=False, examples=3)


def leaky_slope(a: jax.Array) -> jax.Array:
    return jnp.where(a >= 0, 0.0, jnp.log(2.0))


def leaky(x: jax.Array) -> Any:
    a, b = x
    return jnp.stack([jnp.where(a > 0, a, 2 * a), jnp.tanh(b)]), leaky_slope(a) + log_slope(b)


def leaky_back(off: float) -> Map:
    def inverse(z: jax.Array) -> Any:
        a, b = z
        x = jnp.arctanh(b)
        log_det = -leaky_slope(a) - log_slope(x) + off * (1 + a * a)
        return jnp.stack([jnp.where(a > 0, a, a / 2), x]), log_det

    return inverse


def test_the_neighbours_of_a_value_are_values() -> None:
    """Here a random point around the value is not the value of any event."""
    x = np.array([0.0, 14.0, 14.0, -14.0, 14.0, -14.0, -14.0, 14.0, 14.0])

    def there(x: jax.Array) -> Any:
        values, log_dets = jax.vmap(lambda b: leaky(jnp.stack([x[0], b])))(x[1:])
        return jnp.concatenate([values[0], values[1:, 1]]), log_dets.sum() - 7 * leaky_slope(x[0])

    def back(z: jax.Array) -> Any:
        found, log_dets = jax.vmap(lambda b: leaky_back(0.0)(jnp.stack([z[0], b])))(z[1:])
        return jnp.concatenate([found[0], found[1:, 1]]), log_dets.sum() + 7 * leaky_slope(z[0])

    assert check_at(x, there, back)[0] is None


@pytest.mark.parametrize("b", [0.5, 14.0, 16.0, 19.0])
def test_at_a_kink_the_inverse_is_wrong_only_if_it_is_wrong_around_it(b: float) -> None:
    assert check_at([0.0, b], leaky, leaky_back(0.0))[0] is None
    failure = check_at([0.0, b], leaky, leaky_back(0.01))[0]
    assert failure is not None
    assert failure[:2] == ("log_det", "inverse")


@pytest.mark.parametrize("steps", [2, 31])
def test_a_clipped_argument_is_undecided_beyond_the_clip(steps: int) -> None:
    # Four draws of rounding happen to make 1 − 31 ε / 2 smaller each time.
    end = 1 - steps * float(np.finfo(np.float64).eps) / 2

    def clipped(z: jax.Array) -> Any:
        x = jnp.arctanh(jnp.clip(z, -end, end))
        return x, -log_slope(x).sum()

    def squashed(x: jax.Array) -> Any:
        return jnp.tanh(x), log_slope(x).sum()

    for x in ([0.5, 1.0], [0.5, 18.0], [0.5, 19.9], [0.3, -19.9]):
        assert check_at(x, squashed, clipped)[0] is None
    failure = check_at([0.5, 19.9], squashed, lambda z: (jnp.arctanh(z) * jnp.array([1.0, 0.0]) + z[0], 0 * z[0]))[0]
    assert failure is not None


def test_float32_values_do_not_make_the_inverse_wrong() -> None:
    """The inverse of a float32 map with a slope of 10⁻²², about which float64 decides nothing."""
    a = jnp.asarray([[1.1, 0.3], [0.2, 0.9]], jnp.float32)
    back = jnp.asarray(np.linalg.inv(np.asarray(a, np.float64)), jnp.float32)
    log_det = jnp.asarray(np.linalg.slogdet(np.asarray(a, np.float64))[1], jnp.float32)

    def forward(x: jax.Array) -> Any:
        y = a @ x.astype(jnp.float32)
        return 1 - 2 / (jnp.exp(2 * y) + 1), log_slope(y).sum() + log_det

    def inverse(off: float) -> Map:
        def function(z: jax.Array) -> Any:
            y = jnp.arctanh(z.astype(jnp.float32))
            return back @ y, -log_slope(y).sum() - log_det + off

        return function

    for off, right in ((1e-5, True), (1e-2, False)):
        failure, _, _ = check_at([18.0, 24.0], forward, inverse(off))
        assert (failure is None) == right


@pytest.mark.parametrize(
    "rounded", [lambda x: x.astype(jnp.bfloat16).astype(x.dtype), lambda x: lax.reduce_precision(x, 11, 7)]
)
def test_a_quantiser_is_not_the_identity(rounded: Callable[[jax.Array], jax.Array]) -> None:
    with pytest.raises(BijectorCheckError) as error:
        check_bijector(
            lambda x: (rounded(x), jnp.zeros(x.shape[:-1], x.dtype)), event_shape=(2,), gradients=False, examples=3
        )
    assert error.value.check == "derivative"


LINEAR = 1e-10


@pytest.mark.parametrize("x", [9.0, 11.0, 14.3, 19.0])
def test_a_root_finder_is_held_to_the_tolerance_that_float64_accepts(x: float) -> None:
    """The bisection is accurate to 10⁻¹¹ in z, and the slope is as small as 10⁻¹⁰."""

    def there(x: jax.Array) -> jax.Array:
        return jnp.tanh(x) + LINEAR * x

    def slope(x: jax.Array) -> jax.Array:
        return 1 / jnp.cosh(x) ** 2 + LINEAR

    @jax.custom_jvp
    def root(z: jax.Array) -> jax.Array:
        def halve(ends: Any) -> Any:
            middle = (ends[0] + ends[1]) / 2
            beyond = there(middle) > z
            return jnp.where(beyond, ends[0], middle), jnp.where(beyond, middle, ends[1])

        ends = jnp.full_like(z, -32.0), jnp.full_like(z, 33.0)
        low, high = lax.while_loop(lambda ends: (there(ends[1]) - there(ends[0]) > 1e-11).any(), halve, ends)
        return (low + high) / 2

    def differentiated(primals: Any, tangents: Any) -> Any:
        x = root(*primals)
        return x, tangents[0] / slope(x)

    root.defjvp(differentiated)

    def inverse(factor: float) -> Map:
        def function(z: jax.Array) -> Any:
            x = factor * root(z)
            return x, -jnp.log(slope(x)).sum()

        return function

    def forward(x: jax.Array) -> Any:
        return there(x), jnp.log(slope(x)).sum()

    assert check_at([x], forward, inverse(1.0))[0] is None
    if x < 10:
        assert check_at([x], forward, inverse(1.2))[0] is not None


def test_a_failure_is_examined_to_the_end_however_little_work_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check_event, "SPECULATIVE_WORK", 1e3)

    def wrong(x: jax.Array) -> Any:
        return jnp.tanh(x), log_slope(x).sum() + jnp.where(jnp.abs(x).max() > 15, 0.5, 0.0)

    failure = check_at([0.5, 17.0], wrong)[0]
    assert failure is not None
    assert failure.check == "log_det"


def test_a_map_of_single_numbers_is_differentiated_too() -> None:
    """The values of 1 + 10⁻¹² sin x do not show its derivative in float64."""

    def flat(x: jax.Array) -> Any:
        return 1 + 1e-12 * jnp.sin(x), jnp.log(1e-12 * jnp.abs(jnp.cos(x)))

    assert check_at(0.5, flat)[:2] == (None, True)
    failure = check_at(0.5, lambda x: (flat(x)[0] + 1e-12 * lax.stop_gradient(x), flat(x)[1]))[0]
    assert failure is not None
    assert failure.check == "derivative"


def test_an_event_of_64_entries_is_decided() -> None:
    x = 4 * np.random.default_rng(0).normal(size=64)
    x[:2] = 19.5, 17.0

    def squashed(x: jax.Array) -> Any:
        return jnp.tanh(x), log_slope(x).sum()

    def back(z: jax.Array) -> Any:
        x = jnp.arctanh(z)
        return x, -log_slope(x).sum()

    failure, decided, precision = check_at(x, squashed, back)
    assert (failure, decided, precision.unresolved) == (None, True, None)
    assert check_at(x, lambda x: (jnp.tanh(x), log_slope(x).sum() + 1e-3))[0] is not None


@pytest.mark.parametrize("hidden", ["FFT", "callback"])
def test_float32_shows_what_is_hidden_from_a_map_that_cannot_be_followed(hidden: str) -> None:
    """A, then A⁻¹, with exact numbers and a condition of 5·10⁷: float64 is off by 10⁻⁸, and float32 by about one."""
    a = np.array([[1.0, 2.0], [3.0, 6.0 + 2.0**-20]])
    back = np.array([[6.0 + 2.0**-20, -2.0], [-3.0, 1.0]]) * 2.0**20

    def times(matrix: np.ndarray, x: jax.Array) -> jax.Array:
        return jnp.einsum("ij,...j->...i", jnp.asarray(matrix, x.dtype), x, precision=lax.Precision.HIGHEST)

    def unfollowed(x: jax.Array) -> jax.Array:
        if hidden == "FFT":
            transformed: jax.Array = jnp.fft.irfft(jnp.fft.rfft(x), 2)
            return transformed
        shift: jax.Array = jax.pure_callback(lambda: np.ones((), x.dtype), jax.ShapeDtypeStruct((), x.dtype))
        return x + 0 * shift

    def forward(x: jax.Array) -> Any:
        log_det = jnp.full(x.shape[:-1], 2 * np.log(0.3), x.dtype)
        return times(back, times(a, 0.3 * unfollowed(x))), log_det

    with pytest.raises(BijectorCheckError) as error:
        check_bijector(forward, event_shape=(2,), examples=3, gradients=False, tolerance=1e-11)
    assert error.value.check == "undecided"
