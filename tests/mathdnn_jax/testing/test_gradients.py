"""Gradients are checked by value, forward and inverse, for event, parameters and context, and right ones pass."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mathdnn_jax.errors import ConfigurationError
from mathdnn_jax.testing import BijectorCheckError, check_bijector
from mathdnn_jax.testing.gradients import compared

Result = tuple[jax.Array, jax.Array]


def stopped(x: jax.Array, part: float = 1.0) -> jax.Array:
    """x, whose gradient is 1 − part of the true one."""
    return x + part * (jax.lax.stop_gradient(x) - x)


def affine(
    params: dict[str, jax.Array], x: jax.Array, context: jax.Array, wrong: str = "", part: float = 1.0
) -> Result:
    """z = arcsinh(x) exp(s) + t + c, with `part` of one gradient missing, which `wrong` names."""
    log_scale, shift = params["log_scale"], params["shift"]
    scales = stopped(log_scale, part) if wrong == "value by params" else log_scale
    moved = stopped(context, part) if wrong == "value by context" else context
    value = jnp.arcsinh(x) * jnp.exp(scales) + shift + moved
    slopes = -0.5 * jnp.log1p(jnp.square(stopped(x, part) if wrong == "log_det by x" else x))
    log_det = (slopes + (stopped(log_scale, part) if wrong == "log_det by params" else log_scale)).sum(-1)
    return value, log_det


def back(params: dict[str, jax.Array], z: jax.Array, context: jax.Array, wrong: str = "") -> Result:
    y = (z - params["shift"] - (stopped(context) if wrong == "value" else context)) * jnp.exp(-params["log_scale"])
    log_det = (jnp.log(jnp.cosh(stopped(y) if wrong == "log_det" else y)) - params["log_scale"]).sum(-1)
    return jnp.sinh(y), log_det


PARAMS = {"log_scale": np.array([0.5, -0.25]), "shift": np.array([1.0, 2.0])}
OPTIONS: dict[str, Any] = {"params": PARAMS, "context": np.zeros(2), "event_shape": (2,), "examples": 1}


def test_right_gradients_pass() -> None:
    check_bijector(affine, back, **OPTIONS)


@pytest.mark.parametrize("wrong", ["value by params", "value by context", "log_det by x", "log_det by params"])
def test_a_wrong_gradient_of_forward_is_found(wrong: str) -> None:
    with pytest.raises(BijectorCheckError, match="must be the derivatives") as caught:
        check_bijector(lambda p, x, c: affine(p, x, c, wrong), back, **OPTIONS)
    assert (caught.value.check, caught.value.direction) == ("gradient", "forward")
    assert f"∂ {wrong.split()[0]} / ∂" in str(caught.value)


@pytest.mark.parametrize("wrong", ["value", "log_det"])
def test_a_wrong_gradient_of_the_inverse_is_found(wrong: str) -> None:
    with pytest.raises(BijectorCheckError, match="must be the derivatives") as caught:
        check_bijector(affine, lambda p, z, c: back(p, z, c, wrong), **OPTIONS)
    assert (caught.value.check, caught.value.direction) == ("gradient", "inverse")


def test_a_gradient_is_wrong_only_by_more_than_a_thousandth() -> None:
    check_bijector(lambda p, x, c: affine(p, x, c, "log_det by x", 0.9e-3), back, **OPTIONS)
    with pytest.raises(BijectorCheckError, match="must be the derivatives"):
        check_bijector(lambda p, x, c: affine(p, x, c, "log_det by x", 4e-3), back, **OPTIONS)


def test_without_gradients_forward_mode_is_still_checked() -> None:
    check_bijector(lambda p, x, c: affine(p, x, c, "value by params"), back, gradients=False, **OPTIONS)
    with pytest.raises(BijectorCheckError, match=r"forward mode"):
        check_bijector(lambda p, x, c: affine(p, x, c, "log_det by x"), back, gradients=False, **OPTIONS)


def test_a_gradient_that_is_not_finite_is_found_in_the_inverse_too() -> None:
    def forward(x: jax.Array) -> Result:
        return x, jnp.zeros(x.shape[:-1], x.dtype)

    def inverse(z: jax.Array) -> Result:
        hidden = jnp.where(z > 30, jnp.sqrt(z - 30), 0)  # NaN in reverse mode, for every z that is drawn
        return z + 0 * hidden, jnp.zeros(z.shape[:-1], z.dtype)

    with pytest.raises(BijectorCheckError, match="must be finite") as caught:
        check_bijector(forward, inverse, event_shape=(1,), examples=1)
    assert caught.value.direction == "inverse"


def scaled(params: jax.Array, x: jax.Array, part: float = 0.0) -> Result:
    """z = θ x, with `part` of the gradient with respect to θ missing."""
    scales = stopped(params, part)
    return scales * x, jnp.broadcast_to(jnp.log(jnp.abs(scales)).sum(), x.shape[:-1])


def beyond_high_precision(x: jax.Array) -> jax.Array:
    """x, by way of complex numbers, which high precision does not follow."""
    return jnp.real(jax.lax.complex(x, jnp.zeros_like(x)))


def steep(scale: float) -> dict[str, Any]:
    """Options with θ so small that log θ is not close to its tangent within one step, which is 4 · 10⁻⁶."""
    return {"params": st.just((np.array(1), np.array([scale]))), "event_shape": (1,), "examples": 1}


@jax.custom_jvp
def iterated(x: jax.Array) -> jax.Array:
    """x by bisection, which does not change at all when x moves by far less than float64 resolves."""

    def halved(interval: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        low, high = interval
        middle = (low + high) / 2
        return jnp.where(middle < x, middle, low), jnp.where(middle < x, high, middle)

    low, high = jax.lax.fori_loop(0, 80, lambda _, s: halved(s), (jnp.full_like(x, -4096), jnp.full_like(x, 4096)))
    return jnp.asarray((low + high) / 2)


iterated.defjvp(lambda x, dx: (iterated(*x), *dx))

WAYS = pytest.mark.parametrize("way", [lambda x: x, beyond_high_precision, iterated])


@WAYS
def test_a_right_gradient_passes_where_a_step_is_too_long(way: Callable[[jax.Array], jax.Array]) -> None:
    check_bijector(lambda p, x: scaled(way(p[1]), x), **steep(3e-8))


def test_a_right_gradient_that_float64_finds_wrong_hides_no_other() -> None:
    """∂ value / ∂θ is too steep for float64, and ∂ log_det / ∂θ is −1 although log_det is constant."""

    def moved(params: Any, x: jax.Array) -> Result:
        scale = params[1]
        return x + jnp.log(jnp.abs(scale)), (stopped(scale) - scale).sum() + jnp.zeros_like(x[..., 0])

    with pytest.raises(BijectorCheckError, match="∂ log_det / ∂"):
        check_bijector(moved, **steep(3e-8))


def test_high_precision_finds_a_wrong_gradient_where_a_step_is_too_long() -> None:
    with pytest.raises(BijectorCheckError, match="must be the derivatives"):
        check_bijector(lambda p, x: scaled(p[1], x, 0.5), **steep(2e-7))


@WAYS
def test_a_wrong_gradient_is_found_though_high_precision_may_not_follow(way: Callable[[jax.Array], jax.Array]) -> None:
    with pytest.raises(BijectorCheckError, match="must be the derivatives"):
        check_bijector(lambda p, x: scaled(way(p[1]), x, 0.5), **steep(3.0))


def test_the_second_difference_is_allowed() -> None:
    """At the kink of |x|, autodiff's slope is ±1, and the central difference 0; one step beyond it they agree."""
    name = ("∂ value / ∂x", "value", 0, False)
    here, beyond = (np.abs([x + 0.1, x, x - 0.1]) for x in (0.0, 0.2))
    assert not compared(name, np.array([1.0]), np.array([0.1]), here, 0.0).is_wrong
    assert not compared(name, np.array([1.0]), np.array([0.1]), beyond, 0.0).is_wrong
    assert compared(name, np.array([-1.0]), np.array([0.1]), beyond, 0.0).is_wrong


def test_kinks_have_no_gradient_to_compare() -> None:
    def leaky(x: jax.Array) -> Result:
        slope = jnp.where(x > 0, 2.0, 0.5).astype(x.dtype)
        return slope * x + jnp.abs(x - 1) / 8, jnp.log(slope + jnp.sign(x - 1) / 8).sum(-1)

    check_bijector(leaky, event_shape=(2,))


def looped(x: jax.Array) -> Result:
    value = jax.lax.while_loop(lambda s: s[1] < 1, lambda s: (s[0] * 2, s[1] + 1), (x, jnp.int32(0)))[0]
    return value, jnp.full(x.shape[:-1], x.shape[-1] * np.log(2), x.dtype)


def halved(z: jax.Array) -> Result:
    value = jax.lax.while_loop(lambda s: s[1] < 1, lambda s: (s[0] / 2, s[1] + 1), (z, jnp.int32(0)))[0]
    return value, jnp.full(z.shape[:-1], -z.shape[-1] * np.log(2), z.dtype)


def test_only_an_inverse_may_lack_reverse_mode() -> None:
    check_bijector(lambda x: (2 * x, looped(x)[1]), halved, event_shape=(2,), examples=1)
    with pytest.raises(ConfigurationError, match=r"forward has no gradients by reverse mode.*gradients=False"):
        check_bijector(looped, halved, event_shape=(2,), examples=1)
    check_bijector(looped, halved, event_shape=(2,), examples=1, gradients=False)


def test_values_that_overflow_one_step_away_are_not_compared() -> None:
    def grown(params: jax.Array, x: jax.Array) -> Result:
        value = jnp.exp(params) * x
        return value, jnp.full(x.shape[:-1], x.shape[-1] * params)

    options: dict[str, Any] = {"support": (-0.5, 0.5), "event_shape": (2,), "float32": False}
    check_bijector(grown, params=st.just(np.array(709.78)), examples=8, **options)
