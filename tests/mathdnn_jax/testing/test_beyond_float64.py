"""Cases that float64 cannot decide: `check_bijector` decides them in high precision or calls them undecided."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mathdnn_jax.testing import BijectorCheckError, check_bijector

Result = tuple[jax.Array, jax.Array]
LINE = (-np.inf, np.inf)


def full(x: jax.Array, log_det: Any) -> jax.Array:
    return jnp.broadcast_to(jnp.asarray(log_det, x.dtype), x.shape[:-1])


def times(a: Any, x: jax.Array) -> jax.Array:
    return jnp.einsum("ij,...j->...i", jnp.asarray(a, x.dtype), x, precision=jax.lax.Precision.HIGHEST)


def unfollowed(x: jax.Array) -> jax.Array:
    """The identity, computed by a primitive that high precision does not support."""
    size = x.shape[-1]
    return jnp.fft.irfft(jnp.fft.rfft(x), size)


def crushed(x: jax.Array) -> Result:
    return 1 + 1e-30 * x, full(x, 2 * np.log(1e-30))


NEAR = np.array([[1.0, 2.0], [3.0, 6.0 + 2.0**-40]])
"""A matrix of exact numbers whose condition is 5·10¹³."""

BACK = np.array([[6.0 + 2.0**-40, -2.0], [-3.0, 1.0]]) * 2.0**40
"""The exact inverse of `NEAR`."""


def caught(*maps: Any, **options: Any) -> BijectorCheckError:
    with pytest.raises(BijectorCheckError) as error:
        check_bijector(*maps, **{"event_shape": (2,), "examples": 3, **options})
    return error.value


def test_what_float64_cannot_see_is_decided_in_high_precision() -> None:
    check_bijector(crushed, event_shape=(2,), float32=False)
    error = caught(lambda x: (crushed(x)[0], full(x, 3 * np.log(1e-30))), float32=False)
    assert error.check == "log_det"
    assert "in high precision" in str(error)
    assert "log|det J|     -138.1551056" in str(error)


def test_what_neither_can_see_is_undecided() -> None:
    error = caught(lambda x: crushed(unfollowed(x)), float32=False)
    assert error.check == "undecided"
    assert "complex128" in str(error)


def test_only_singular_maps_are_called_singular() -> None:
    def near(x: jax.Array) -> Result:
        return times(NEAR, x), full(x, -40 * np.log(2))

    check_bijector(near, lambda z: (times(BACK, z), full(z, 40 * np.log(2))), event_shape=(2,), latent_support=LINE)
    assert caught(lambda x: (times([[1.0, 2.0], [3.0, 6.0]], x), full(x, 0.0))).check == "singular"
    # Without high precision, a Jacobian is called singular only if its zeros make it so.
    assert caught(lambda x: (unfollowed(x) * jnp.array([1, 0], x.dtype), full(x, 0.0))).check == "singular"
    assert caught(lambda x: (times([[1.0, 2.0], [3.0, 6.0]], unfollowed(x)), full(x, 0.0))).check == "undecided"


def test_a_zero_made_by_rounding_is_not_a_zero() -> None:
    """The slope of tanh at 20 is zero in float64."""

    def squashed(x: jax.Array, log_det: Callable[[jax.Array], jax.Array]) -> Result:
        return jnp.tanh(unfollowed(x)), log_det(x).sum(-1)

    def stable(x: jax.Array) -> jax.Array:
        y: jax.Array = 2 * (np.log(2) - x - jax.nn.softplus(-2 * x))
        return y

    options = {"support": (19.5, 22), "float32": False}
    assert caught(lambda x: squashed(x, stable), **options).check == "undecided"
    assert caught(lambda x: (1 + 0 * unfollowed(x), full(x, 0.0)), **options).check == "singular"
    assert caught(lambda x: squashed(x, lambda x: jnp.log(1 - jnp.tanh(x) ** 2)), **options).check == "finite"


def hidden(x: jax.Array) -> jax.Array:
    """A map close to the identity, but off from it by ε times a condition of 5·10¹³."""
    return times(BACK, times(NEAR, x) + 0.1) - times(BACK, jnp.full_like(x, 0.1))


def test_without_high_precision_a_map_fails_only_if_float64_decides() -> None:
    error = caught(lambda x: (2 * unfollowed(x), full(x, 0.0)))
    assert error.check == "log_det"
    assert "no volume change" in str(error)
    assert caught(lambda x: (hidden(unfollowed(x)), full(x, 0.1))).check == "undecided"
    error = caught(lambda x: (2 * x, full(x, 2 * np.log(2))), lambda z: (unfollowed(z) / 3, full(z, -2 * np.log(3))))
    assert error.check == "round_trip"


def test_poor_arithmetic_is_caught_and_named() -> None:
    error = caught(lambda x: (2 * x, full(x, (2 * jnp.log(2.0) + 2.0**34) - 2.0**34)), float32=False)
    assert error.check == "log_det"
    assert "the formula is right" in str(error)
    assert "exact log_det  1.386294361" in str(error)

    def cancelling(x: jax.Array) -> Result:
        return jnp.tanh(x), jnp.log(1 - jnp.tanh(x) ** 2).sum(-1)

    error = caught(cancelling, support=(19, 22), float32=False)
    assert error.check == "finite"
    assert "the formula is right" in str(error)
    error = caught(
        lambda x: (2 * x, full(x, 2 * np.log(2))),
        lambda z: ((z + 2.0**45) / 2 - 2.0**44, full(z, -2 * np.log(2))),
        float32=False,
    )
    assert error.check == "round_trip"
    assert "the formula is right" in str(error)


def test_only_a_pivot_that_rounding_makes_zero_excuses_results_that_are_not_finite() -> None:
    a = np.array([[3.0, 1.0], [1.0, 1 / 3]])

    def solved(z: jax.Array) -> Result:
        b = jnp.asarray(a, z.dtype)
        return jnp.linalg.solve(b, z[..., None])[..., 0], full(z, -jnp.linalg.slogdet(b)[1])

    with jax.enable_x64(True):
        assert not np.isfinite(solved(jnp.ones(2))[0]).any()
    assert caught(solved).check == "undecided"

    def overflowing(x: jax.Array) -> Result:
        large = jnp.exp(800 + 0 * x)
        return 2 * (x * large) / large, full(x, 2 * np.log(2))

    error = caught(overflowing, float32=False)
    assert error.check == "finite"
    assert "the formula is right" in str(error)


def test_float32_constants_are_named() -> None:
    s = jnp.array([0.3, -1.2], jnp.float32)

    def forward(x: jax.Array) -> Result:
        return x * jnp.exp(s).astype(x.dtype) + 1, full(x, s.sum())

    def inverse(z: jax.Array) -> Result:
        return (z - 1) * jnp.exp(-s).astype(z.dtype), full(z, -s.sum())

    error = caught(forward, inverse)
    assert error.check == "round_trip"
    assert "look for a float32 constant or cast" in str(error)


def test_a_condition_beyond_float32_is_not_the_fault_of_float32() -> None:
    """The matrix is closed over, so the checker cannot move it."""
    a = np.array([[1.0, 2.0, 0.5], [3.0, 6.001, 1.0], [0.3, 0.1, 2.0]])

    def solved(z: jax.Array) -> Result:
        b = jnp.asarray(a, z.dtype)
        return jnp.linalg.solve(b, z[..., None])[..., 0], full(z, -jnp.linalg.slogdet(b)[1])

    def forward(x: jax.Array) -> Result:
        return times(a, x), full(x, jnp.linalg.slogdet(jnp.asarray(a, x.dtype))[1])

    check_bijector(forward, solved, event_shape=(3,), latent_support=LINE)
    error = caught(lambda z: (solved(z)[0] * (3 if z.dtype == np.float32 else 1), solved(z)[1]), event_shape=(3,))
    assert error.check == "float32"


@pytest.mark.parametrize(
    ("change", "check"),
    [
        (lambda value, x: value + 1e-2 * (x.ndim > 1), "batch"),
        (lambda value, x: value + 1e-2 * isinstance(x, jax.core.Tracer), "jit"),
        (lambda value, x: value + 0.2 * jax.lax.stop_gradient(x) * (1 + 0 * x), "derivative"),
    ],
)
def test_hidden_rounding_does_not_hide_a_mistake(
    change: Callable[[jax.Array, jax.Array], jax.Array], check: str
) -> None:
    a = np.array([[1.0, 2.0], [3.0, 6.0 + 2.0**-27]])
    back = np.linalg.inv(a)

    def forward(x: jax.Array) -> Result:
        value = times(back, times(a, x))
        return change(value, x).astype(x.dtype), full(x, jnp.linalg.slogdet(jnp.asarray(back @ a, x.dtype))[1])

    assert caught(forward, float32=False).check == check


def test_hypothesis_and_mpmath_are_imported_when_they_are_needed() -> None:
    code = """
import sys, jax.numpy as jnp
from mathdnn_jax.testing import check_bijector
def imported(): print(*[name for name in ("hypothesis", "scipy", "mpmath") if name in sys.modules], sep="+")
def full(x, value): return jnp.full(x.shape[:-1], value, x.dtype)
def crushed(x): return 1 + 1e-30 * x, full(x, 2 * jnp.log(1e-30))
imported()
check_bijector(lambda x: (2 * x, full(x, 2 * jnp.log(2.0))), event_shape=(2,), examples=2)
imported()
check_bijector(crushed, event_shape=(2,), examples=1, float32=False)
imported()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout.splitlines() == ["", "hypothesis", "hypothesis+mpmath"], done.stderr
